"""What is learnt from: corpora, the sound bank, recipes, rendering, and the LightningDataModules of both systems."""
