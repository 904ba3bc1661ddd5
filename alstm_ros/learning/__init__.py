"""Training of the Association LSTM: clips, the recorded tracker, the network, its losses, its export. Home of torch."""
