"""Tables and figures of the papers, measured again: `bench reproduce NAME`."""
