#!/bin/bash
# A run on a Ray cluster that is there, from anywhere that reaches its page:
#   ray_job.sh http://HEAD:8265 /shared/recipe.yaml run_dir=/shared/runs/first
# The recipe lies on the cluster's shared storage. The job runs on the head node, and RAY_ADDRESS tells it the cluster.
set -euo pipefail
page=${1:?usage: ray_job.sh PAGE RECIPE [KEY=VALUE ...]}
shift
exec ray job submit --address "$page" --entrypoint-num-cpus 0 -- rft train "$@"
