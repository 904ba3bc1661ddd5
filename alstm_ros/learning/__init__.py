"""Teaching the Association LSTM: scenes, noisy detectors, the network, its losses and its export. Home of torch."""
