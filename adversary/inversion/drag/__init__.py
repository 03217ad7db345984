"""Feature inversion guided by a diffusion prior: noise schedule, sampler, training, attack."""
