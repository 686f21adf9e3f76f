"""Generates the Python code of Annals' API from proto/: `python generate.py [DIRECTORY]`, by default into this one."""

import sys
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"


def main() -> int:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    out.mkdir(parents=True, exist_ok=True)
    # What nodes say to each other (peer.proto) is not for clients.
    files = [str(file) for file in sorted(PROTO.glob("annals/v1/*.proto")) if file.name != "peer.proto"]
    well_known = resources.files("grpc_tools") / "_proto"
    places = [f"-I{PROTO}", f"-I{well_known}"]
    kinds = [f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}"]
    return protoc.main(["protoc", *places, *kinds, *files])


if __name__ == "__main__":
    sys.exit(main())
