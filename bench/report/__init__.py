"""Parts that the pages of sweeps and experiments share."""
