"""Compiles the kernels for an H100 or H200, which takes no GPU; prints the name of each that has machine code now."""

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from imagejob_runner.device import kernels

TABLES = {"table": "*i64", "starts": "*i32", "weights": "*i32", "size": "i32"}
BLOCK = {"TAPS": 16, "LINES": 4, "LANES": 256}


def main() -> None:
    """Compiles what scales with the bicubic filter."""
    for kernel, signature, constants in (
        (kernels.weigh, {**TABLES, "sides": "*fp64"}, {"SUPPORT": 2, "TAPS": 16, "RESULTS": 32}),
        (kernels.scale_first, {**TABLES, "middle": "*u8"}, BLOCK),
        (kernels.scale_second, {**TABLES, "middle": "*u8", "batch": "*u8"}, BLOCK),
    ):
        source = ASTSource(kernel, {**signature, **dict.fromkeys(constants, "constexpr")}, constants)
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": False})
        if compiled.asm["cubin"]:
            print(kernel.__name__)  # noqa: T201  what it is for


if __name__ == "__main__":
    main()
