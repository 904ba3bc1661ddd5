"""Teaching the Association LSTM: scenes, a noise model of detectors, the network, its losses and its export. Home of torch."""
