#!/bin/bash
# spot.sh KEPT STUDY NUMBER/COUNT [OPTIONS OF harness run]
#
# Trains one shard on a machine that may be taken away. KEPT is a folder that outlives it, such as a network disk: what
# it holds is copied here first, and back every minute and at the end. The same command on the next machine goes on.
# Exit code 143: the machine was taken away; start the next one. For a bucket, write its own command into `copy`.
copy() { mkdir -p "$2" && cp -a "$1/." "$2/"; } # or: aws s3 sync "$1" "$2"; gcloud storage rsync -r "$1" "$2"

kept=$1 study=$2 shard=$3
shift 3
folder=results/shard-${shard/\//-of-}
if [ -d "$kept" ]; then copy "$kept" "$folder"; fi

harness run "$study" --shard "$shard" --results "$folder" --bits portable "$@" &
training=$!
trap 'kill -TERM "$training"' TERM INT
copied=$SECONDS
while kill -0 "$training" 2> /dev/null; do
  sleep 1 &
  wait -n "$training" $! # or until a signal comes
  if [ $((SECONDS - copied)) -ge "${EVERY:-60}" ]; then
    copy "$folder" "$kept"
    copied=$SECONDS
  fi
done
wait "$training"
code=$?
copy "$folder" "$kept"
exit "$code"
