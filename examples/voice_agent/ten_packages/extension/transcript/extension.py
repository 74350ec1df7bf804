"""The conversation in writing: printed as it happens, and kept in a file."""

from __future__ import annotations

from pathlib import Path

import ten_trio as ten


@ten.addon("transcript")
class Transcript(ten.Extension):
    """Prints and writes to `file` what is said; ends the graph when the sink has `finished`."""

    async def on_init(self, env: ten.TenEnv) -> None:
        path = Path(env.get_property_string("file"))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")  # noqa: ASYNC230 - small

    async def on_deinit(self, env: ten.TenEnv) -> None:
        self._file.close()

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        match data.name:
            case "text":
                self._write("you", data["text"] or "(nothing that could be understood)")
            case "tool_call":
                self._write("tool", data["text"])
            case "sentence":
                self._write("agent", data["text"])
            case "interrupted":
                self._write(
                    "",
                    f"(interrupted: silent {data['ms']:.0f} ms after your voice was detected; "
                    f"frames that left after that: {data['frames_after']}, "
                    f"that were dropped: {data['dropped']})",
                )
            case "finished":
                self._write("", f"(the answer, {data['seconds']:.1f} s: {data['wav']})")
                env.stop_graph()

    def _write(self, who: str, text: str) -> None:
        line = f"{who:>6}  {text}"
        print(line, flush=True)
        self._file.write(f"{line}\n")
