"""Images from nothing but the batch norms of a granted network."""
