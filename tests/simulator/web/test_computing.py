"""Short computations come one after the other; a long one holds up none for long, and too many are refused."""

import asyncio
import threading

import pytest
from foretrain.core.deadline import OutOfTimeError, check_time
from foretrain.simulator.web.answers import RefusedError
from foretrain.simulator.web.computing import Computing


def test_a_long_computation_does_not_hold_up_the_others():
    over = threading.Event()

    async def ask() -> list[int]:
        computing = Computing(threads=2, waiting=1, compute_s=20.0, answer_s=60.0)
        long = asyncio.create_task(computing.run(lambda: over.wait(30) and 1))
        await asyncio.sleep(0)
        short = await computing.run(lambda: 2)
        assert not long.done()
        over.set()
        return [int(await long), short]

    assert asyncio.run(ask()) == [1, 2]


def test_too_many_and_too_long_are_refused():
    async def ask():
        computing = Computing(threads=1, waiting=0, compute_s=0.0, answer_s=60.0)
        with pytest.raises(OutOfTimeError, match="longer than 0 s"):
            await computing.run(check_time)
        first = asyncio.create_task(computing.run(lambda: 1))
        await asyncio.sleep(0)
        with pytest.raises(RefusedError, match="busy"):
            await computing.run(lambda: 2)
        assert await first == 1
        assert await computing.run(lambda: 3) == 3

    asyncio.run(ask())
