#!/usr/bin/env bash
# Looks for parameters that suit your recordings, and shows what they change on one that the search has not seen.
#
#   examples/tune_yaml.sh RECORDINGS TRUTH UNSEEN UNSEEN_TRUTH TRIALS
#   examples/tune_yaml.sh bags truth other_bag other_truth 200
#
# The last two are a recording and its ground truth that lie outside of RECORDINGS.
set -euo pipefail
recordings=$1 truth=$2 unseen=$3 unseen_truth=$4 trials=$5

alstm tune "$recordings"/* --gt "$truth" --trials "$trials" --output tuned.yaml
alstm track "$unseen" --output before.txt
alstm track "$unseen" --config tuned.yaml --output after.txt
alstm evaluate before.txt --gt "$unseen_truth"
alstm evaluate after.txt --gt "$unseen_truth"
