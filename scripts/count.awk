# SPDX-License-Identifier: MIT
# Counts tests in the output of a runner and prints "passed failed".
#   -v kind=ctest   of `ctest -V`: a Criterion binary counts with each of its
#                   own tests, any other test counts as one
#   -v kind=node    of `node --test --test-reporter=tap`
#
# A runner that fails although each of its tests passed, e.g. by a leak found
# at its end, counts as one more failure; so does one that ran nothing.

{
    gsub(/\033\[[0-9;]*m/, "")
    sub(/\r$/, "")
}

kind == "ctest" && /^[0-9]+: \[====\] Synthesis: / {
    id = $1 + 0
    has_own[id] = 1
    own_passed[id] += number_after("Passing: ")
    own_failed[id] += number_after("Failing: ") + number_after("Crashing: ")
}

kind == "ctest" && /^ *[0-9]+\/[0-9]+ +Test +#[0-9]+: / {
    match($0, /#[0-9]+:/)
    id = substr($0, RSTART + 1, RLENGTH - 2) + 0
    ran++
    is_ok = $0 ~ /   Passed +[0-9.]+ sec$/
    if ($0 ~ /\*\*\*Skipped/) {
        skipped++
    } else if (has_own[id]) {
        passed += own_passed[id]
        failed += own_failed[id]
        if (!is_ok && own_failed[id] == 0 || own_passed[id] + own_failed[id] == 0)
            failed++
    } else if (is_ok) {
        passed++
    } else {
        failed++
    }
}

kind == "node" && /^ *ok [0-9]+ .*# SKIP/ { skipped++ }
kind == "node" && /^# pass [0-9]+$/ { node_passed = $3; ran = 1 }
kind == "node" && /^# fail [0-9]+$/ { node_failed = $3 }
kind == "node" && /^# cancelled [0-9]+$/ { node_cancelled = $3 }

END {
    passed += node_passed
    failed += node_failed + node_cancelled
    if (failed == 0 && (status != 0 || !ran || passed + skipped == 0))
        failed++
    print passed + 0, failed + 0
}

function number_after(label,    at)
{
    at = index($0, label)
    return at == 0 ? 0 : substr($0, at + length(label)) + 0
}
