#!/usr/bin/env bash
# Runs a command as the body of a SLURM job that goes on where it was. The last line of a batch script is
#     exec experiments/slurm/requeue.sh COMMAND ...
# and its head asks for --requeue, --open-mode=append and --signal=B:USR1@120.
#
# USR1, shortly before the job's time is over: the command is ended and the job queued again under its number, until it
# has been started MOST_RESTARTS times (20 unless set): a job whose time is too short for an epoch would never end.
# TERM, of scancel or a preemption: the command is ended; what becomes of the job is for whoever sent it.
set -u

command=
signalled=1
requeue=
trap 'signalled=1; requeue=1; kill -TERM "$command" 2>/dev/null' USR1
trap 'signalled=1; kill -TERM "$command" 2>/dev/null' TERM

echo "job $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)), on ${SLURM_JOB_NODELIST:-$(hostname)}: $*"
# Since SLURM 22.05 srun does not take a job's cores per task by itself: ranks would share one core.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
"$@" &
command=$!
while [[ $signalled ]]; do # a signal ends `wait`, not the command
    signalled=
    wait "$command"
    status=$?
done

if [[ $requeue && $status -ne 0 ]]; then
    if ((${SLURM_RESTART_COUNT:-0} + 1 >= ${MOST_RESTARTS:-20})); then
        echo "job $SLURM_JOB_ID: its time is over, not queued again (MOST_RESTARTS is ${MOST_RESTARTS:-20})" >&2
        exit "$status"
    fi
    echo "job $SLURM_JOB_ID: its time is over, queued again"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
