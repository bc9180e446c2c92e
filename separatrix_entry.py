"""The entry point of `separatrix`, and whether a folder of the user's hides one of the project's packages."""

import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("callbacks", "datamodules", "experiments", "lightning_modules")


def require_own_packages() -> None:
    """Raise ImportError, in one line, where a package of such a name is found that is not the project's.

    These names are common. Python takes the first one on its path, where the current folder comes before what is
    installed; of folders without an `__init__.py` it takes none, as long as there is a package of the name.
    """
    ours = Path(__file__).resolve().parent
    for name in PACKAGES:
        found = find_spec(name)
        places = [Path(place).resolve() for place in (found.submodule_search_locations or ())] if found else []
        if ours / name not in places:
            if found is None:
                raise ImportError(f"{ours / name} is missing; install separatrix again")
            other = places[0] if places else found.origin  # of a module of that name
            way_out = "rename it, or start Python in another folder, with none of that name in PYTHONPATH"
            raise ImportError(f"{other} hides Separatrix's own package {name}; {way_out}")


def main() -> int:
    """The command line; status 2 where the project's packages are hidden."""
    try:
        require_own_packages()
    except ImportError as error:
        print(f"separatrix: {error}", file=sys.stderr)
        return 2
    from experiments.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
