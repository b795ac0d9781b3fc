"""Damages of files: each is a function of a random generator and of the file's content."""

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

Damage = Callable[[np.random.Generator, bytes], bytes]

HUGE = "9" * 5000
ODD = [None, True, "", "text", -1, 0, 0.5, 1e308, float("inf"), float("nan"), 10**30, HUGE, [], {}]
WORDS = ["nan", "-inf", "1e999", HUGE, "-1", "0x10", "../../x", "/dev/zero", "\x00", "é", "a b", ""]


def of_bytes(rng: np.random.Generator, content: bytes) -> bytes:
    """Flip, cut, extend, repeat or clear some bytes."""
    first, last = sorted(rng.integers(0, len(content) + 1, 2))
    kind = rng.integers(7)
    if kind <= 2:  # sizes and types are at the beginning
        data, end = bytearray(content), len(content) if kind else min(len(content), 64)
        for place in rng.integers(0, end, rng.integers(1, 9)):
            data[place] ^= int(rng.integers(1, 256))
        return bytes(data)
    before, part, after = content[:first], content[first:last], content[last:]
    return [
        before,
        content + rng.bytes(int(rng.integers(1, 2000))),
        before + part + part + after,
        before + bytes(len(part)) + after,
    ][kind - 3]


def of_tree(rng: np.random.Generator, tree: Any) -> Any:
    """Delete one value of nested dictionaries and lists, or replace it."""
    places = list(_places(tree))
    container, key = places[rng.integers(len(places))]
    if rng.integers(3) == 0:
        del container[key]
    elif torch.is_tensor(container[key]):
        container[key] = _odd_tensor(rng, container[key])
    else:
        container[key] = ODD[rng.integers(len(ODD))]
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    for key in keys:
        yield tree, key
        if isinstance(tree[key], (dict, list)):
            yield from _places(tree[key])


def _odd_tensor(rng: np.random.Generator, tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.flatten()
    return [
        tensor.float() * torch.nan,
        tensor.float() / 0,
        flat[: len(flat) // 2].clone(),
        tensor.to(torch.complex64),
        (tensor.float() * 1000).to(torch.int32),
        torch.zeros(1).expand(10**5, 10**5),
        flat.to_sparse(),
    ][rng.integers(7)]


def of_json(rng: np.random.Generator, content: bytes) -> bytes:
    """Change a value of a JSON or YAML file, which JSON is as well."""
    text = json.dumps(of_tree(rng, json.loads(content)))
    return text.replace(f'"{HUGE}"', HUGE).encode()


def of_text(rng: np.random.Generator, content: bytes) -> bytes:
    """Change a line or a word, or the encoding."""
    lines = content.decode().split("\n")[:-1]
    place, kind = rng.integers(len(lines)), rng.integers(6)
    words = lines[place].split(" ")
    if kind <= 1:
        words[rng.integers(len(words))] = WORDS[rng.integers(len(WORDS))]
        lines[place] = " ".join(words)
    elif kind == 2:
        lines[place] = lines[rng.integers(len(lines))]
    elif kind == 3:
        lines[place] = " ".join(words[:-1])
    elif kind == 4:
        lines[place] = lines[place] * 10_000
    text = "\n".join(lines) + "\n"
    return text.encode("utf-16" if kind == 5 else "utf-8")


def of_arrays(rng: np.random.Generator, content: bytes) -> bytes:
    """Change an array of an .npz file."""
    arrays = dict(np.load(io.BytesIO(content)))
    name = list(arrays)[rng.integers(len(arrays))]
    array = arrays.pop(name)
    number = array if array.dtype.kind in "fiu" else np.zeros(array.shape)
    changed = [
        None,
        array.reshape(-1)[: array.size // 2],
        array[None],
        array.astype(object),
        array.astype("S"),
        number * np.nan,
        -1 - number.astype(float),
        number.astype(complex),
        number.astype(np.int64) + 2**40,
        np.resize(array, (2 * len(np.atleast_1d(array)), *array.shape[1:])),
    ][rng.integers(10)]
    file = io.BytesIO()
    np.savez(file, **arrays, **({} if changed is None else {name: changed}))
    return file.getvalue()


def of_checkpoint(rng: np.random.Generator, content: bytes) -> bytes:
    """Change a value or a tensor of what torch.save wrote."""
    file = io.BytesIO()
    torch.save(of_tree(rng, torch.load(io.BytesIO(content), weights_only=True)), file)
    return file.getvalue()


def of_tensors(rng: np.random.Generator, content: bytes) -> bytes:
    """Change the header of a safetensors file, which is JSON behind its length."""
    length = int.from_bytes(content[:8], "little")
    header = of_json(rng, content[8 : 8 + length])
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


# Damages of a file of each format, in turn.
BYTES, TENSORS = (of_bytes,), (of_bytes, of_tensors)
TABLE, TREE, ARRAYS, CHECKPOINT = (
    (of_bytes, damage, damage) for damage in (of_text, of_json, of_arrays, of_checkpoint)
)
