#!/usr/bin/env bash
# Fails a CI job when the tracks of its recordings get worse than required.
#
#   examples/evaluate_in_ci.sh RECORDINGS TRUTH PARAMETERS REQUIREMENT
#   examples/evaluate_in_ci.sh bags truth config/alstm.yaml "HOTA>=60 IDSW<=20"
#
# RECORDINGS is a folder of bags or videos, TRUTH one with NAME/gt.txt for each of them. The report is a file to keep.
set -euo pipefail
recordings=$1 truth=$2 parameters=$3 requirement=$4

alstm track "$recordings"/* --config "$parameters" --output "tracks/{name}.jsonl"
alstm evaluate tracks --gt "$truth" --require "$requirement" --report report.html
