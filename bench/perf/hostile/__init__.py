"""`bench perf hostile`: a server under attack, beside an honest client."""
