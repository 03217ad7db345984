"""Who may enter, how much of the server it gets, and for how long."""
