"""The two programs of the paper's noise experiment as its own code words them.

The library's programs follow the paper's listings (arXiv 2406.01424); the code that the
experiment ran says some things in another way, equal in exact arithmetic:

- conditions are thresholded once more, at 1/2, before they are used;
- its ``optimized`` conditional is written by hand, with the opposite comparison in place of
  1 − c (here: ``opposite=1``); the others subtract;
- the dictionary asks whether a value starts here in three ways at once (a full match, in copy
  mode, at the first place), decides in one step which register a copied token goes to, and
  copies while counter < start + n, where the library says start + n − 1/2;
- its symbols are 0..V − 1, so that an output which is 0 anyway is sometimes right;
- ``continuous`` asks for the later tokens with ``counter > 1/2``, which always holds (what it
  adds for the query token is 0).
"""

from __future__ import annotations

from typing import Final

_CHOICE = """
param opposite = 0

def choose(on, off, x): return f_ifelse(off, t=0, f=x) if opposite == 1 else f_ifelse(on, t=x, f=0)
"""

CONTINUOUS: Final = f"""{_CHOICE}
param d_in = 2
param d_out = 2

ForEach:
    input = Input(dim=1 + d_in + d_out, lo=-2, hi=2)
    width = assume(input[0:1], lo=0, hi=1)
    lower = assume(input[1:1 + d_in], lo=0, hi=1)
    value = input[1 + d_in:1 + d_in + d_out]

    counted = LinState(input, A=eye(1), B=zeros(1, 1 + d_in + d_out), b=ones(1, 1), init_state=zeros(1, 1))
    given = assume(input[0:d_in], lo=0, hi=1)
    query_token = choose(f_smaller(counted, 1.5), f_larger(counted, 1.5), given)
    query_state = LinState(query_token, A=eye(d_in), B=eye(d_in), init_state=zeros(d_in, 1))
    query = assume(query_state, lo=0, hi=1)

    within = f_bump(query, lower, lower + width)
    sides = Linear(within, A=ones(1, d_in), b=zeros(1, 1))
    inside = f_and(f_larger(sides, d_in - 0.5), f_larger(counted, 0.5))
    added = choose(f_larger(inside, 0.5), f_smaller(inside, 0.5), value)
    return LinState(added, A=eye(d_out), B=eye(d_out), init_state=zeros(d_out, 1))
"""

DICTIONARY: Final = f"""{_CHOICE}
param n = 3
param V = 26
param max_length = 131072

ForEach:
    input = Input(dim=1, lo=0, hi=V - 1, integer=true)

    counted = LinState(input, A=eye(1), B=zeros(1, 1), b=ones(1, 1), init_state=[[-1]])
    counter = assume(counted, lo=0, hi=max_length, integer=true)
    place = f_modulo_counter(input, n)
    pair_place = f_modulo_counter(input, 2*n)
    place_starts = f_constant(input, [i - 0.5 for i in 0..n])
    place_ends = f_constant(input, [i + 0.5 for i in 0..n])
    at_place = f_and(f_larger(place, place_starts), f_smaller(place, place_ends))
    elsewhere = f_or(f_larger(place, place_ends), f_smaller(place, place_starts))

    after_query = f_larger(counter, n - 0.5)
    comparing = f_larger(pair_place, n - 0.5)
    copy_mode = f_and(after_query, f_not(comparing))
    first_of_copy = f_and(copy_mode, f_smaller(place, 0.5))

    query_token = choose(f_smaller(after_query, 0.5), f_larger(after_query, 0.5), input)
    query_writes = choose(at_place, elsewhere, query_token)
    query_state = LinState(query_writes, A=eye(n), B=eye(n), init_state=zeros(n, 1))
    query = assume(query_state, lo=0, hi=V - 1, integer=true)
    query_reads = choose(at_place, elsewhere, query)
    query_sum = Linear(query_reads, A=ones(1, n), b=zeros(1, 1))
    wanted = assume(query_sum, lo=0, hi=V - 1, integer=true)

    same = f_and(f_larger(input, wanted - 0.5), f_smaller(input, wanted + 0.5))
    match = f_and(same, comparing)
    buffer = LinState(match, A=shift(n + 1), B=vstack(ones(1, 1), zeros(n, 1)), init_state=zeros(n + 1, 1))
    matched = Linear(buffer, A=hstack(zeros(1, 1), ones(1, n)), b=zeros(1, 1))
    full_match = f_larger(matched, n - 0.5)

    starts = f_and(full_match, first_of_copy)
    start_writes = choose(starts, f_not(starts), counter)
    start_state = LinState(start_writes, A=eye(1), B=eye(1), init_state=zeros(1, 1))
    started_on = assume(start_state, lo=0, hi=max_length, integer=true)
    copying = f_and(copy_mode, f_smaller(counter, started_on + n))

    writes = f_and(at_place, Concat([copying for i in 0..n]))
    answer_writes = choose(f_larger(writes, 0.5), f_smaller(writes, 0.5), input)
    answer_state = LinState(answer_writes, A=eye(n), B=eye(n), init_state=zeros(n, 1))
    answer = assume(answer_state, lo=0, hi=V - 1, integer=true)
    answer_reads = choose(f_larger(at_place, 0.5), f_smaller(at_place, 0.5), answer)
    return Linear(answer_reads, A=ones(1, n), b=zeros(1, 1))
"""
