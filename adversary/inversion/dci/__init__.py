"""`dci`: block by block, on images made of batch norms (Dong et al.)."""
