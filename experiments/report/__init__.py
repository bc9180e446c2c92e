"""`separatrix report`: what a run found, as one self-contained HTML page with figures and players."""
