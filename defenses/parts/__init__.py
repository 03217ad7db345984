"""What defences share: stacks, specs, noise, training."""
