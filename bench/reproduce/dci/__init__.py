"""Tables and figures of DCI (Dong et al.)."""
