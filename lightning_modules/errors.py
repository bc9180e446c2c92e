"""The one exception that means "the user's input is wrong", shared by every layer."""


class InputError(Exception):
    """A file, setting or checkpoint that cannot be used as given.

    The message is what the user reads: it names the culprit (file or setting), says what was expected and what to do.
    The command line prints it without a traceback and exits with status 2.
    """
