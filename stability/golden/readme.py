"""The README inside a golden case: every array, the equations, and a program that runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler.model import Activation

GATE_ORDER: Mapping[str, tuple[str, ...]] = {
    "linear": ("h",),
    "relu": ("h",),
    "state": ("h",),
    "gate": ("a", "b"),
    "rnn": ("h",),
    "lstm": ("i", "f", "g", "o"),
    "gru": ("r", "z", "n"),
    "conv": ("h",),
    "glu": ("e", "f"),
}
"""Per kind, the gates in the order in which their rows are stacked."""

EQUATIONS: Mapping[str, str] = {
    "linear": "h = W x + b",
    "relu": "h = relu(W x + b)",
    "state": "h = U h' + W x + b",
    "gate": "h = (Wa x + ba) * (Wb x + bb)",
    "rnn": "h = relu(U h' + W x + b)",
    "lstm": "c = relu(f) * c' + relu(i) * relu(g), h = relu(o) * relu(c)",
    "gru": "h = (1 - relu(z)) * n + relu(z) * h', n = relu(Wn x + bn + relu(r) * (Un h'))",
    "conv": "h = s0 + sum over lags i of U^i [W, b + U s0 - s0] (x i steps before, 1); s0 = initial",
    "glu": "h = (We x + be) * relu(Wf x + bf)",
}
"""Per kind, its equation: x the input, h' and c' of the step before, * elementwise."""

NATIVE_EQUATIONS: Mapping[str, str] = {
    "lstm": "c = sigmoid(f) * c' + sigmoid(i) * tanh(g), h = sigmoid(o) * tanh(c)",
    "gru": "h = (1 - sigmoid(z)) * n + sigmoid(z) * h', n = tanh(Wn x + bn + sigmoid(r) * (Un h' + bias_hn))",
}
"""The same of layers with real gates ("activation": "native" in the manifest)."""

PROGRAM = """\
import json, sys
import numpy as np

case = np.load(sys.argv[1])
plan = json.loads(case["manifest"].tobytes())

def relu(v):
    return np.maximum(v, 0)

def sigmoid(v):
    return np.exp(np.minimum(v, 0)) / (1 + np.exp(-np.abs(v)))

def matrix(name):
    if name in case:
        return case[name]
    full = np.zeros(case[name + "/shape"])
    full[case[name + "/rows"], case[name + "/columns"]] = case[name + "/values"]
    return full

K = range(len(plan["layers"]))
W, U = ([matrix(f"layer{k}/weight_{w}") for k in K] for w in ("ih", "hh"))
b, h, c = ([case[f"layer{k}/{w}"] for k in K] for w in ("bias", "initial", "initial_cell"))
readout, readout_bias, outputs = matrix("readout"), case["readout_bias"], []
states = {}

for token in case["tokens"]:
    wire = [token]
    for k, layer in enumerate(plan["layers"]):
        kind, gates = layer["kind"], len(layer["gates"])
        native = layer["activation"] == "native"
        gate, squash = (sigmoid, np.tanh) if native else (relu, relu)
        x = np.concatenate([wire[w] for w in layer["inputs"]])
        new, old = np.split(b[k] + W[k] @ x, gates), np.split(U[k] @ h[k], gates)
        s = [p + q for p, q in zip(new, old)]
        if kind in ("linear", "state", "conv"):  # a conv equals h = U h' + W x + b
            h[k] = s[0]
        elif kind in ("relu", "rnn"):
            h[k] = relu(s[0])
        elif kind == "gate":
            h[k] = s[0] * s[1]
        elif kind == "glu":
            h[k] = s[0] * relu(s[1])
        elif kind == "lstm":
            i, f, g, o = gate(s[0]), gate(s[1]), squash(s[2]), gate(s[3])
            c[k] = f * c[k] + i * g
            h[k] = o * squash(c[k])
        elif kind == "gru":
            r, z = gate(s[0]), gate(s[1])
            own = old[2] + case[f"layer{k}/bias_hn"] if native else old[2]
            h[k] = (1 - z) * squash(new[2] + r * own) + z * h[k]
        wire.append(h[k])
        states.setdefault(f"layer{k}", []).append(h[k])
        if kind == "lstm":
            states.setdefault(f"cell_layer{k}", []).append(c[k])
    read = np.concatenate([wire[w] for w in plan["readout_wires"]])
    outputs.append(readout @ read + readout_bias)
if sys.argv[2].endswith(".npz"):  # the states are scored too
    np.savez(sys.argv[2], outputs=outputs, **states)
else:
    np.save(sys.argv[2], np.array(outputs))
"""
"""It runs a case in float64; a kernel under test does the same in its own arithmetic."""
PROGRAM_BEGINS, PROGRAM_ENDS = "---------- run.py\n", "---------- end of run.py\n"

TEXT = """\
{title}

A golden case of lsrl-stability: the weights of a recurrent network, a prompt, and the true outputs.
Run the weights over the tokens in the arithmetic of your kernel, save the outputs, and judge them:

    lsrl score CASE.npz OUT.npy --format float16 | bfloat16 | float32 | float64

OUT.npy holds ({length}, {output_dim}) or (1, {length}, {output_dim}) numbers: float16, float32, float64,
or uint16 with the bits of bfloat16. OUT.npz holds such an array as "outputs", and, for states to be
scored too, any of "layerK" (h) and "cell_layerK" (c): (T, H), or (S, H) at reference/steps.

ABOUT THIS CASE
{about}

ARRAYS (little-endian, C order; float64 unless said; NAME_low, where it is there, is what float64 does
not hold of NAME: the exact value is NAME + NAME_low to 106 bits; where it is not there, NAME is exact)
README, manifest        uint8: UTF-8 text; the manifest is JSON
tokens                  (T, input_dim), T = {length}: one row per step
layerK/  (K < {layers})      H outputs, G gates, D entries read; kinds, gates and inputs are in the manifest
  weight_ih             (G*H, D): W, reads the layer's input; G blocks of H rows, one per gate
  weight_hh             (G*H, H): U, reads the layer's own outputs of the step before; 0 if not recurrent
  bias                  (G*H): b
  initial               (H): h before the first token
  initial_cell          (H): c before the first token (lstm; else 0)
  bias_hn               (H): only in a gru with sigmoid and tanh
readout, readout_bias   (output_dim, D), (output_dim): y = readout x + readout_bias
A matrix M of more than {dense:,} entries is stored as M/shape, M/rows, M/columns (int64), M/values.
reference/outputs       (T, output_dim): the true outputs, computed at {rung} (digits of mpmath)
reference/tolerance     (T, output_dim): a step is wrong unless every |y - reference| < tolerance:
                        from {judge}
reference/steps         (S) int64: the steps of the states below: {steps}
reference/layerK        (S, H): the true outputs h of each layer at those steps, computed at {states_rung}
reference/cell_layerK   (S, H): the true cells c of each lstm layer at those steps, likewise
expected/NAME/outputs   (T, output_dim): what a stated arithmetic gives, inf included, if the case has any

{trajectories}

THE MODEL
Wire 0 is the token; layer k (from 0) drives wire k + 1; "inputs" of a layer are the wires that it reads,
concatenated. x is that input, h' and c' are the layer's own values of the step before, * is elementwise.
{equations}
A gate's name stands for its row block of s = b + U h' + W x; the blocks of gate a are Wa, Ua, ba.

THE ARITHMETIC by which our own engines compute (yours may differ; the score says by how many bits)
- Weights and tokens are rounded once to the format, to nearest, ties to even.
- One accumulator per row of s: it starts at b, then adds the columns of U in ascending order, then those
  of W; every product and every sum is rounded; no fused multiply-add; zero entries are skipped.
- The n of a gru has two: b + W x, and U h' from bias_hn or 0; r times the second is added to the first.
- A sigmoid or a tanh is its true value, rounded once.
- A conv rounds the entries of its kernels; it starts at s0 and adds lag after lag, columns in order.
- h and c are rounded like everything else, every step.
- Status: ok until the first step whose output is not finite; from then on overflow (inf) or nan. Scoring
  sees outputs only; an inf that a relu hides in your kernel does not show here.

BITS LEFT of an output y with truth r: -log2(|y - r| / max(|r|, s)) between 0 and p, s the largest |r| of
this output so far, p the significand bits of the format. The worst output of a step counts. An error of
less than 2^-p of the tolerance leaves all bits. After a peak this takes a late error for a small one; so
bits are counted a second time, s the largest |r| of this output in its last {recent} steps, and held to what
our engine leaves ("recent_bits" in the manifest) less 3. Of a state, s is the largest |r| of its whole
layer at the steps so far.

A PROGRAM THAT RUNS THIS FILE (NumPy, float64): python run.py CASE.npz OUT.npy
{begins}{program}{ends}"""


def readme(
    *,
    title: str,
    about: Sequence[str],
    trajectories: Mapping[str, str],
    kinds: Sequence[tuple[str, Activation]],
    facts: Mapping[str, object],
) -> str:
    """The text of a case's README.

    Args:
        title: its first line.
        about: lines on where the case is from.
        trajectories: what outputs may be judged against: name → meaning.
        kinds: the kinds of its layers, with their activations.
        facts: the values of the other fields of :data:`TEXT`.
    """
    equations = [
        f"  {kind:7} gates {', '.join(GATE_ORDER[kind]):11} {told[kind]}"
        for activation, told in (("relu", EQUATIONS), ("native", NATIVE_EQUATIONS))
        for kind in GATE_ORDER
        if (kind, activation) in kinds
    ]
    meanings = [f"  {name:20} {meaning}" for name, meaning in trajectories.items()]
    return TEXT.format(
        title=title,
        about="\n".join(about),
        trajectories="JUDGED AGAINST (lsrl score --against NAME)\n" + "\n".join(meanings),
        equations="\n".join(equations),
        begins=PROGRAM_BEGINS,
        program=PROGRAM,
        ends=PROGRAM_ENDS,
        **facts,
    )
