"""compare.py A B: the names of the tensors of two GGUF files that are not the same, as {"differing": [...]}."""

import json
import sys

import numpy as np
from gguf import GGUFReader


def same(a, b):
    return (a is not None and b is not None and a.tensor_type == b.tensor_type
            and list(a.shape) == list(b.shape)
            and np.array_equal(a.data.view(np.uint8), b.data.view(np.uint8)))


def main():
    first, second = ({tensor.name: tensor for tensor in GGUFReader(path).tensors} for path in sys.argv[1:3])
    names = sorted(first.keys() | second.keys())
    print(json.dumps({"differing": [name for name in names if not same(first.get(name), second.get(name))]}))


if __name__ == "__main__":
    main()
