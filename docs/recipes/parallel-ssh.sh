#!/bin/bash
# parallel-ssh.sh STUDY.toml HOST..
#
# Trains a study's shards on hosts that ssh reaches, by GNU parallel: each host takes the next shard when it is done
# with one, so that faster hosts train more of them. Results come back to results/NAME-shard-1-of-16 and so on, here;
# a shard whose host is lost is tried on another one. On each host `harness` is the same version, and on its PATH.
# Run again, it trains the shards that did not come back. Plugins and images of your own that the study names are not
# sent: put them at the same place below the home folder of each host.
study=$1
shift
shards=${SHARDS:-16}
name=$(sed -n 's/^ *name *= *"\([^"]*\)".*/\1/p' "$study" | head -n 1)
todo=$(for i in $(seq "$shards"); do [ -d "results/$name-shard-$i-of-$shards" ] || echo "$i"; done)
if [ -z "$todo" ]; then echo "all shards are here: harness merge joins them" && exit 0; fi

parallel --jobs 1 --sshlogin "$(IFS=,; echo "$*")" --retries 3 --joblog "$name.joblog" \
  --transferfile "$study" --return "results/$name-shard-{}-of-$shards" \
  harness run "$study" --shard "{}/$shards" --bits portable ::: $todo
