#!/usr/bin/env bash
# Teaches the association on your own recordings, labelled by nobody, and says whether to ship what comes of it.
#
#   examples/bootstrap_and_fine_tune.sh RECORDINGS JUDGED TRUTH [NAME=VALUE...]
#   examples/bootstrap_and_fine_tune.sh bags judged truth seed=1
#
# RECORDINGS is a folder of bags or videos to learn from. JUDGED is a folder of at least two others, and TRUTH holds
# NAME/gt.txt for each of them. NAME=VALUE changes the training. Exits with 1 where the new model shall not be shipped.
set -euo pipefail
recordings=$1 judged=$2 truth=$3
shift 3

alstm bootstrap "$recordings"/* --output bootstrapped
alstm train --from bootstrapped --output fine-tuned "$@"
alstm track "$judged"/* --set association.model=default --output "before/{name}.jsonl"
alstm track "$judged"/* --set association.model=fine-tuned/association.onnx --output "after/{name}.jsonl"
alstm evaluate after --gt "$truth" --against before --require "+AssA>0 +HOTA>0"
echo "Ship it: association.model: $PWD/fine-tuned/association.onnx"
