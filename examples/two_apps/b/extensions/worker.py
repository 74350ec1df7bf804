"""The worker: finds the prime factors of numbers, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import trio

import ten_trio as ten


@ten.addon("worker")
class Worker(ten.Extension):
    """Answers `split` {number} with a result per prime factor, in order, and tells when it is done."""

    cancel_abandoned = True  # nobody waits for the rest of a number that nobody asks for any more

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        number = cmd["number"]
        if not isinstance(number, int) or number < 2:
            await env.return_result(cmd.error("only integers from 2 on have prime factors"))
            return
        count = 0
        for factor in prime_factors(number):
            if factor is None:
                await trio.lowlevel.checkpoint()  # others have a turn
                continue
            count += 1
            await env.return_result(cmd.partial(factor=factor))
        await env.send_data(ten.Data("done", {"number": number, "factors": count}))
        await env.return_result(cmd.ok())


def prime_factors(number: int) -> Iterator[int | None]:
    """The prime factors of `number`, and None now and then, so that nobody waits long in between."""
    divisor = 2
    while divisor * divisor <= number:
        if number % divisor == 0:
            number //= divisor
            yield divisor
        else:
            divisor += 1 if divisor == 2 else 2
            if divisor % 20_000 == 1:
                yield None
    yield number
