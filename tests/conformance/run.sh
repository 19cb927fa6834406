#!/bin/sh
# run.sh ROOT SCRIPT ARGUMENTS...: runs a conformance test with ROOT/.venv's Python, or says that it is skipped
# (exit code 77).
root=$1
script=$2
shift 2
python=$root/.venv/bin/python3
if ! "$python" -c 'import numpy, ml_dtypes, gguf, safetensors' 2>/dev/null; then
  echo "SKIP: $script needs $python with numpy, ml_dtypes, gguf and safetensors"
  exit 77
fi
exec "$python" "$script" "$@"
