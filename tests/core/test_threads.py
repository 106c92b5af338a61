"""Work in several threads: order, errors, work within work, processes that fork."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator

import numba
import pytest

from idealflow.core.descriptors.threads import in_order


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("numba was started with one thread")
    before = numba.get_num_threads()
    numba.set_num_threads(2)
    yield
    numba.set_num_threads(before)


def test_threads_are_kept_and_there_are_no_more_than_allowed() -> None:
    both, seen = threading.Barrier(2, timeout=60), set()

    def work(_: int) -> None:
        both.wait()  # breaks unless two run at the same time
        seen.add(threading.get_ident())

    for _ in range(3):
        list(in_order(work, range(8)))
    assert len(seen) == 2
    assert threading.get_ident() in seen


def test_results_that_nobody_takes_do_not_pile_up() -> None:
    begun, enough = [], threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if len(begun) == 5:
            enough.set()
        return number

    results = in_order(work, range(40))
    assert next(results) == 0
    assert enough.wait(60)  # the other thread goes on meanwhile
    threading.Event().wait(0.05)
    assert sorted(begun) == [0, 1, 2, 3, 4]  # one was taken, and two wait for each thread
    assert list(results) == list(range(1, 40))


def test_two_callers_at_once() -> None:
    found = {}

    def call(number: int) -> None:
        numba.set_num_threads(2)
        found[number] = list(in_order(lambda task: number * task, range(30)))

    callers = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert found == {number: [number * task for task in range(30)] for number in range(4)}


def test_an_error_comes_at_its_place_and_no_work_goes_on_after_it() -> None:
    running, begun = threading.Event(), []

    def work(number: int) -> int:
        begun.append(number)
        if number == 1:
            raise ValueError("the second")
        running.wait(0.05)
        return number

    results = in_order(work, range(40))
    assert next(results) == 0
    with pytest.raises(ValueError, match="the second"):
        next(results)
    before = list(begun)
    running.wait(0.2)
    assert begun == before
    assert len(begun) < 10
    assert list(in_order(lambda number: -number, range(5))) == [0, -1, -2, -3, -4]


def test_work_within_work_does_not_wait_for_itself() -> None:
    def outer(number: int) -> list[int]:
        return list(in_order(lambda inner: 10 * number + inner, range(3)))

    assert list(in_order(outer, range(4))) == [[10 * i + k for k in range(3)] for i in range(4)]


def _in_a_child(queue: multiprocessing.queues.Queue[list[int]]) -> None:
    queue.put(list(in_order(abs, range(-5, 0))))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    list(in_order(abs, range(4)))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_a_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == [5, 4, 3, 2, 1]
    child.join(60)
    assert child.exitcode == 0
