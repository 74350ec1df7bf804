"""The front: takes numbers from outside, has each of them factorised, and gathers what comes back."""

from __future__ import annotations

import trio

import ten_trio as ten


@ten.addon("front")
class Front(ten.Extension):
    """Answers `factorise` {numbers} with one result per prime factor, as found, and then all of them.

    It doesn't know that the worker is in another process.
    """

    cancel_abandoned = True  # who has gone wants no more factors, also of the worker

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        found: dict[int, list[int]] = {}
        problems: list[str] = []

        async def factorise(number: int) -> None:
            found[number] = []
            async with env.send_cmd_ex(ten.Cmd("split", {"number": number})) as results:
                async for result in results:
                    if result.status is not ten.StatusCode.OK:
                        problems.append(f"{number}: {result.detail}")
                    elif not result.is_final:
                        found[number].append(result["factor"])
                        await env.return_result(cmd.partial(number=number, factor=result["factor"]))

        async with trio.open_nursery() as nursery:
            for number in cmd["numbers"]:
                nursery.start_soon(factorise, number)
        if problems:
            await env.return_result(cmd.error("; ".join(problems)))
        else:
            products = {str(number): " * ".join(map(str, found[number])) for number in found}
            await env.return_result(cmd.ok(products))
