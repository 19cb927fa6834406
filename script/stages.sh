# shellcheck shell=bash
# Sourced by script/test and .ci/run: runs named stages, keeps their output in build/logs and counts what
# passed. A failed stage does not stop the next one.
: "${jobs:?script/common.sh comes first}"
passed=0
failed=0
mkdir -p build/logs

# "clang 19: build" -> build/logs/clang-19-build
log_path() { echo "build/logs/$(tr -cs 'a-zA-Z0-9' '-' <<<"$1" | sed 's/-$//')"; }

print_stage() {  # ok|FAIL NAME SECONDS [REMARK]
  printf '%-4s  %-44s %5d s  %s\n' "$1" "$2" "$3" "${4-}"
}

# Runs a command or function; its exit status decides. The log's lines that start with "note:" are shown.
stage() {  # NAME COMMAND...
  local name=$1 log status start=$SECONDS
  log=$(log_path "$1").log
  shift
  set +e
  # The subshell stops at the first failing command, which a function called in a condition would not.
  (set -e; "$@") >"$log" 2>&1 </dev/null
  status=$?
  set -e
  if ((status == 0)); then
    passed=$((passed + 1))
    print_stage ok "$name" $((SECONDS - start))
    sed -n '/^note:/s/^/      /p' "$log"
  else
    failed=$((failed + 1))
    print_stage FAIL "$name" $((SECONDS - start)) "exit status $status; the end of $log:"
    tail -n 40 "$log" | sed 's/^/      | /'
  fi
  return 0
}

junit_count() {  # FILE ATTRIBUTE
  grep -o "[^a-z]$2=\"[0-9]*\"" "$1" | head -n 1 | tr -dc 0-9
}

# Runs the tests of a preset's build; each test counts.
test_stage() {  # NAME PRESET [ctest option...]
  local name=$1 preset=$2 log junit total bad missing skipped start=$SECONDS
  log=$(log_path "$1").log
  junit=$PWD/$(log_path "$1").xml
  shift 2
  rm -f "$junit"
  ctest --preset "$preset" --no-tests=error --parallel "$jobs" --output-junit "$junit" "$@" \
    >"$log" 2>&1 </dev/null || true
  if [[ ! -s $junit ]]; then
    stage "$name" sh -c "tail -n 20 '$log'; exit 1"
    return 0
  fi
  total=$(junit_count "$junit" tests)
  # ctest counts a test whose program was not built among the skipped ones.
  missing=$(grep -c '(Not Run)$' "$log" || true)
  bad=$(($(junit_count "$junit" failures) + missing))
  skipped=$(($(junit_count "$junit" skipped) + $(junit_count "$junit" disabled) - missing))
  passed=$((passed + total - bad - skipped))
  failed=$((failed + bad))
  print_stage "$( ((bad == 0)) && echo ok || echo FAIL)" "$name" $((SECONDS - start)) \
    "$((total - bad - skipped)) tests passed, $bad failed, $skipped skipped"
  sed -n '/^The following tests/,$p' "$log" | sed '/^Errors while/d; s/^/      /'
  if ((bad > 0)); then sed -nE '/\[  FAILED  \]|[Ff]ailure$|Error:/s/^/      | /p' "$log" | sed 40q; fi
  return 0
}

# Adds the closing line of a script that counts in the same way, shown as it runs.
include_run() {  # COMMAND...
  local line log=build/logs/included.log
  "$@" </dev/null 2>&1 | tee "$log" || true
  line=$(tail -n 1 "$log")
  if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    passed=$((passed + BASH_REMATCH[1]))
    failed=$((failed + BASH_REMATCH[2]))
  else
    failed=$((failed + 1))
    print_stage FAIL "$*" 0 "ended without a summary"
  fi
}

close_stages() {
  printf '%d passed, %d failed\n' "$passed" "$failed"
  ((failed == 0))
}
