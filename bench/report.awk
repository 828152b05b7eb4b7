# SPDX-License-Identifier: MIT
# The measurements' table: medians over the rounds, and in brackets the median
# of each round's ratio to the row's base. Input: row, target, round, and a
# line whose first word is the value; all but the last separated by tabs.
BEGIN {
    FS = "\t"
    row_count = split("idle handshake poll message large upgrade setup " \
        "broadcast handshake-latency poll-latency message-latency " \
        "message-idle", row_names, " ")
    target_count = split("haproxy haproxy-sid nginx haproxy-tuned " \
        "nginx-tuned direct sidgate-redis sidgate", target_names, " ")
    describe("idle", "RSS per idle tunnel", "bytes", 1, 600)
    describe("handshake", "handshake GET", "us", 1e-3, 0.75)
    describe("poll", "poll GET, kept connection", "us", 1e-3, 0.80)
    describe("message", "64 B message there and back", "us", 1e-3, 0.87)
    describe("large", "64 KiB messages", "s/GiB", 16384e-9, 0.50)
    describe("upgrade", "websocket upgrade", "us", 1e-3, 0.92)
    describe("setup", "whole session set-up", "us", 1e-3, 1.00)
    describe("broadcast", "broadcast, per delivery", "us", 1e-3, 0.74)
    describe("handshake-latency", "handshake, p50 latency", "us", 1e-3, 1.00)
    describe("poll-latency", "poll, p50 latency", "us", 1e-3, 1.00)
    describe("message-latency", "message, p50 latency", "us", 1e-3, 1.00)
    describe("message-idle", "message, " idle " idle beside", "us", 1e-3, 1.10)
}

function describe(row, text, unit, factor, goal)
{
    text_of[row] = text
    unit_of[row] = unit
    factor_of[row] = factor
    goal_of[row] = goal
    base_of[row] = row ~ /^handshake/ && tls != "yes" ? \
        "haproxy-sid" : "haproxy"
    if (tls == "yes")
        goal_of[row] = 1
}

{
    split($4, words, " ")
    key = $1 SUBSEP $2
    value[key, $3] = words[1] * factor_of[$1]
    values[key] = values[key] (key in values && values[key] != "" ? " " : "") \
        value[key, $3]
    if (match($4, /misroutes=[0-9]+/))
        misroutes[$2] += substr($4, RSTART + 10, RLENGTH - 10)
    if (match($4, /waited=[0-9]+/))
        waits = waits " " substr($4, RSTART + 7, RLENGTH - 7)
    seen[$2] = 1
    if ($3 + 1 > rounds)
        rounds = $3 + 1
}

function median(list,    n, i, j, swap, item)
{
    n = split(list, item, " ")
    for (i = 2; i <= n; i++) {
        swap = item[i] + 0
        for (j = i - 1; j >= 1 && item[j] + 0 > swap; j--)
            item[j + 1] = item[j]
        item[j + 1] = swap
    }
    if (n == 0)
        return ""
    return n % 2 ? item[(n + 1) / 2] : (item[n / 2] + item[n / 2 + 1]) / 2
}

# The median of the ratios of the rounds in which both were measured.
function paired(row, target, base,    round, list)
{
    list = ""
    for (round = 0; round < 100; round++)
        if ((row, target, round) in value && (row, base, round) in value &&
            value[row, base, round] > 0)
            list = list " " value[row, target, round] / value[row, base, round]
    return median(list)
}

function best_peer(row,    i, target, best, found)
{
    found = ""
    for (i = 1; i <= target_count; i++) {
        target = target_names[i]
        if (target ~ /^sidgate/ || target == "direct" ||
            !((row, target) in values))
            continue
        if (found == "" || median(values[row, target]) < best) {
            best = median(values[row, target])
            found = target
        }
    }
    return found
}

# What the goal is about: bytes, or a ratio to something the row names.
function achieved(row,    before)
{
    if (tls == "yes")
        return paired(row, "sidgate", "haproxy")
    if (row == "idle")
        return median(values[row, "sidgate"])
    if (row ~ /latency$/)
        return paired(row, "sidgate", best_peer(row))
    if (row == "message-idle") {
        before = median(values["message", "sidgate"])
        return before == "" ? "" : median(values[row, "sidgate"]) / before
    }
    return paired(row, "sidgate", base_of[row])
}

function goal_text(row)
{
    if (tls == "yes")
        return "<= 1.00 x haproxy"
    if (row == "idle")
        return "<= 600 B"
    if (row ~ /latency$/)
        return "<= 1.00 x best peer"
    if (row == "message-idle")
        return "<= 1.10 x message"
    return sprintf("<= %.2f x %s", goal_of[row], base_of[row])
}

function cell(row, target,    ratio, number)
{
    if (!((row, target) in values))
        return "-"
    number = median(values[row, target])
    number = sprintf(number < 10 ? "%.2f" : number < 100 ? "%.1f" : "%.0f", \
        number)
    ratio = paired(row, target, base_of[row])
    return number (ratio == "" ? "" : sprintf(" (%.2f)", ratio))
}

function print_row(row,    i, result)
{
    printf "%-28s %-6s", text_of[row], unit_of[row]
    for (i = 1; i <= target_count; i++)
        if (target_names[i] in seen)
            printf " %14s", cell(row, target_names[i])
    if ((row, "sidgate") in values) {
        result = achieved(row)
        printf "  %s", goal_text(row)
        if (result != "") {
            printf row == "idle" && tls != "yes" ? ": %.0f" : ": %.2f", result
            printf result <= goal_of[row] ? " met" : " MISSED"
            missed += result > goal_of[row]
        }
    }
    printf "\n"
}

function print_json(file,    i, j, row, target, list, comma)
{
    printf "{\"rounds\": %d, \"idle_tunnels\": %d, \"rows\": [", rounds, \
        idle > file
    comma = ""
    for (i = 1; i <= row_count; i++)
        for (j = 1; j <= target_count; j++) {
            row = row_names[i]
            target = target_names[j]
            if (!((row, target) in values))
                continue
            list = values[row, target]
            gsub(/ /, ", ", list)
            printf "%s\n  {\"row\": \"%s\", \"target\": \"%s\", " \
                "\"unit\": \"%s\", \"median\": %.6g", comma, row, target, \
                unit_of[row], median(values[row, target]) > file
            if (paired(row, target, base_of[row]) != "")
                printf ", \"base\": \"%s\", \"ratio\": %.4f", base_of[row], \
                    paired(row, target, base_of[row]) > file
            printf ", \"values\": [%s]}", list > file
            comma = ","
        }
    printf "\n]}\n" > file
}

END {
    printf "%-28s %-6s", "CPU of the proxy, or as named", "unit"
    for (i = 1; i <= target_count; i++)
        if (target_names[i] in seen)
            printf " %14s", target_names[i]
    printf ("sidgate" in seen) ? "  goal\n" : "\n"
    for (i = 1; i <= row_count; i++) {
        for (j = 1; j <= target_count; j++)
            if ((row_names[i], target_names[j]) in values) {
                print_row(row_names[i])
                break
            }
    }
    printf "\nRequests that reached a node other than their session's:"
    comma = ""
    for (i = 1; i <= target_count; i++)
        if (target_names[i] in seen && target_names[i] != "direct") {
            printf "%s %s %d", comma, target_names[i], \
                misroutes[target_names[i]]
            comma = ","
        }
    printf "\n%d rounds in %d s; in brackets: the median of the rounds' " \
        "ratios to\nhaproxy%s.\n", rounds, seconds, \
        tls == "yes" ? "" : " (handshakes: to haproxy-sid)"
    if (median(waits) > 5)
        printf "The machine was busy: the proxies waited for their core for " \
            "%d %% of the time they\nused it. The absolute figures are too " \
            "high, and the ratios noisy.\n", median(waits)
    if (json != "")
        print_json(json)
    if (check && (missed > 0 || !("sidgate" in seen)))
        exit 1
}
