"""What is learnt: spectrogram, networks and losses in plain torch, and the LightningModules that wire them."""
