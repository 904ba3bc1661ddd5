#!/usr/bin/env bash
# From a recording to ground truth for every tenth frame: a person corrects the tracks instead of drawing boxes.
#
#   examples/label_a_few_frames.sh RECORDING EDITOR
#   examples/label_a_few_frames.sh monday "my-editor"
#
# EDITOR is called with the COCO file; leave the images where they are, in img1/ beside it. CVAT reads it, too.
set -euo pipefail
recording=$1 editor=$2

alstm track "$recording" --output draft.jsonl
alstm export-labels draft.jsonl --every 10 --images "$recording" --output labels/draft.json
$editor labels/draft.json
alstm evaluate draft.jsonl --gt labels/draft.json
