"""Labels for recordings without ground truth: who is who where that is certain, and what a person labelled."""
