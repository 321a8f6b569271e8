"""Compiles every kernel for an NVIDIA GPU that need not be there, with the arguments the operations launch it with.

What a kernel is launched on stays unwritten; only whether it compiles matters. Prints one line a kernel.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction
from triton_cases import Attention, Decoder, Encoder, attend, decode, encode

from openbook.ops.additive_attention.triton import additive_attention
from openbook.ops.recurrence.triton_decoder import attending_decoder
from openbook.ops.recurrence.triton_encoder import attending_encoder
from openbook.ops.triton_math import LAUNCH

NAMES = {torch.float32: "*fp32", torch.uint8: "*u8"}
done: set[str] = set()


def compile_only(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
    given = dict(zip([part.name for part in self.params], args, strict=False))
    given |= {name: value for name, value in options.items() if name not in LAUNCH}
    signature, constants = {}, {}
    for part in self.params:
        value = given.pop(part.name)
        if part.is_constexpr or value is None or (isinstance(value, int) and value == 1):
            signature[part.name], constants[(part.num,)] = "constexpr", value
        else:
            signature[part.name] = "i32" if isinstance(value, int) else NAMES[value.dtype]
    assert given == {}, f"{self.__name__} has no {list(given)}"
    if str((self.__name__, signature, constants)) in done:
        return
    source = ASTSource(fn=self, signature=signature, constexprs=constants)
    binary = triton.compile(source, target=GPUTarget("cuda", int(sys.argv[1]), 32), options=dict(LAUNCH))
    assert len(binary.asm["cubin"]) > 0
    done.add(str((self.__name__, signature, constants)))
    sys.stdout.write(f"{self.__name__}\n")


JITFunction.run = compile_only
attend(additive_attention, Attention(H=1, T=1), torch.float32, "cpu")
attend(additive_attention, Attention(H=4, A=16, mask=3, bias=True), torch.float32, "cpu")
decode(attending_decoder, Decoder(L=1, T=8, look_last=False), torch.float32, "cpu")
decode(attending_decoder, Decoder(E=2, T=8, both=True, mask=True, bias=True, padded=True), torch.float32, "cpu")
encode(attending_encoder, Encoder(F=1), torch.float32, "cpu")
encode(attending_encoder, Encoder(both=True), torch.float32, "cpu")
