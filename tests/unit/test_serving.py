"""Seconds per output token, the batch, the layouts: closed forms, limits, and derivatives against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizer.performance import batch as batches
from optimizer.performance import first_token as first
from optimizer.performance import layouts, serving
from optimizer.performance.serving import Architecture, ChipSpeeds, Efficiency, Layout, Precision, Work

H100 = ChipSpeeds(1979e12, 3.35e12, 80e9, 450e9, 989e12)
B200 = ChipSpeeds(9000e12, 8e12, 180e9, 900e9, 2250e12)
LLAMA_70B = Architecture(70.6e9, 70.6e9, 0.0, 1.0, 1.0, 80.0, 8192.0, 64.0, 8.0, 2 * 80 * 8 * 128.0, 4 * 64 * 128 * 80.0)
LLAMA_405B = Architecture(405e9, 405e9, 0.0, 1.0, 1.0, 126.0, 16384.0, 128.0, 8.0, 2 * 126 * 8 * 128.0, 4 * 128 * 128 * 126.0)
DEEPSEEK_R1 = Architecture(
    671e9, 37e9, 653.9e9, 256.0, 8.0, 61.0, 7168.0, 128.0, 1.0, 61 * 576.0, 2 * 128 * 1088 * 61.0, np.inf, 1.0, 2 * 128 * 320 * 61.0
)
GPT_OSS = Architecture(116.8e9, 5.1e9, 114.66e9, 128.0, 4.0, 36.0, 2880.0, 64.0, 8.0, 2 * 36 * 8 * 64.0, 4 * 64 * 64 * 36.0, 128.0, 0.5)
FP8, FP4 = Precision(1.0, 1.0), Precision(2.0, 1.0, 0.5625)
EFFICIENCY = Efficiency(0.67, 0.918, 0.675, 1.2e-3, 48e-6, 12.9e-6, 20e-6, 0.888, 0.53, 0.8, 0.7, 0.2, 0.25)
WORK = Work(1000.0, 1000.0, 0.1, 0.5)
SETTINGS = {
    "dense": (H100, LLAMA_70B, FP8, EFFICIENCY, Layout(2.0, 1.0, 0.0), WORK),
    "dense, a pipeline": (H100, LLAMA_405B, FP8, EFFICIENCY, Layout(16.0, 4.0, 0.0), WORK),
    "latent attention, experts apart": (B200, DEEPSEEK_R1, FP4, EFFICIENCY, Layout(8.0, 1.0, 1.0), WORK),
    "window, experts sliced": (B200, GPT_OSS, FP4, EFFICIENCY, Layout(2.0, 1.0, 0.0), WORK),
}
Setting = tuple[ChipSpeeds, Architecture, Precision, Efficiency, Layout, Work]


def steps(setting: Setting, xp: Any = np) -> serving.StepTime:
    return serving.step_time(*setting, xp)


def load_of(setting: Setting, xp: Any = np) -> serving.TokenLoad:
    return serving.token_load(setting[1], setting[5], xp)


def disaggregated(setting: Setting, xp: Any) -> first.Disaggregated:
    chip, model, precision, _, layout, work = setting
    load = load_of(setting, xp)
    decode = serving.decode_only(steps(setting, xp), load)
    prompt = first.prompt_s(*setting, xp)
    size = first.transfer_bytes(model, precision, work, xp)
    smaller = layout._replace(chips=layout.chips * 0.5)
    return first.disaggregated(prompt, smaller, 0.6, decode, layout, 20.0, 0.8, work, size, chip.network_bytes_per_s / 9, xp)


def smooth(setting: Setting, xp: Any) -> Any:
    done = batches.operate_smooth(*setting, 0.06, xp)
    return done.batch, done.tpot_s, done.output_tokens_per_s_per_chip


def hard(setting: Setting, xp: Any) -> Any:
    done = batches.operate(*setting, 0.06, xp)
    return done.batch, done.tpot_s, done.output_tokens_per_s_per_chip, done.batch_memory, done.batch_target


def buckets(setting: Setting, xp: Any) -> Any:
    work = setting[5]
    spread = Work(*(xp.asarray(leaf) * xp.asarray([0.5, 1.0, 2.0]) for leaf in work))
    return serving.mixed_load(setting[1], spread, xp.asarray([0.2, 0.5, 0.3]), xp)


FUNCTIONS: dict[str, Callable[[Setting, Any], Any]] = {
    "seen_tokens": lambda s, xp: serving.seen_tokens(s[1], s[5].input_tokens, xp),
    "context_tokens": lambda s, xp: serving.context_tokens(s[5]),
    "token_load": load_of,
    "mixed_load": buckets,
    "split_ways": lambda s, xp: serving.split_ways(s[1], s[4], xp),
    "weight_bytes": lambda s, xp: serving.weight_bytes(s[1], s[2]),
    "seconds_per_token": lambda s, xp: serving.seconds_per_token(s[0], s[1], s[3], s[4], xp=xp),
    "seconds_per_pair": lambda s, xp: serving.seconds_per_pair(s[0], s[1], s[3], s[4]),
    "prefill_wait": lambda s, xp: serving.prefill_wait(s[3], s[4], s[4].chips),
    "step_time": steps,
    "tpot_s": lambda s, xp: serving.tpot_s(steps(s, xp), s[5].output_tokens / 50, xp),
    "decode_only": lambda s, xp: serving.decode_only(steps(s, xp), load_of(s, xp)),
    "speculative": lambda s, xp: serving.speculative(steps(s, xp), load_of(s, xp), 3.0, 0.7 * s[3].compute, 1e-3, xp),
    "held_bytes": lambda s, xp: batches.held_bytes(s[1], s[2], s[4], xp),
    "batch_memory": lambda s, xp: batches.batch_memory(*s[:5], load_of(s, xp), xp),
    "batch_at": lambda s, xp: batches.batch_at(steps(s, xp), 0.06 * s[3].memory, xp),
    "operate": hard,
    "operate_smooth": smooth,
    "soft_minimum": lambda s, xp: batches.soft_minimum((s[5].input_tokens, 1.3 * s[5].output_tokens, s[1].layers * 15), xp=xp),
    "positive": lambda s, xp: batches.positive(s[3].compute - 0.6, xp),
    "first_token": lambda s, xp: first.first_token(*s, s[5].output_tokens / 20, s[5].input_tokens * 2, xp),
    "prefill_token_s": lambda s, xp: first.prefill_token_s(s[0], s[1], s[3], s[4], s[5], xp),
    "prompt_s": lambda s, xp: first.prompt_s(*s, xp),
    "transfer_bytes": lambda s, xp: first.transfer_bytes(s[1], s[2], s[5], xp),
    "disaggregated": disaggregated,
}


def every_output(setting: Setting, change: Any, xp: Any) -> Any:
    """All outputs of all functions, where every leaf of the setting is scaled by 1 + its change."""
    leaves, tree = jax.tree.flatten(setting)
    moved = tree.unflatten([leaf * (1.0 + change[i]) for i, leaf in enumerate(leaves)])
    outputs = [leaf for function in FUNCTIONS.values() for leaf in jax.tree.leaves(function(moved, xp))]
    return xp.stack([xp.asarray(leaf, dtype=change.dtype) for leaf in outputs])


def numbers_only(setting: Setting) -> Setting:
    """The same setting with every leaf a finite number, which a relative change can scale: a window that never binds, no None."""
    chip, model, precision, efficiency, layout, work = setting
    window = model.attention_window_tokens if np.isfinite(model.attention_window_tokens) else 1e7
    prefill = model.prefill_flops_per_token_pair or model.attention_flops_per_token_pair
    expert = precision.expert_weight_bytes or precision.weight_bytes
    model = model._replace(attention_window_tokens=window, prefill_flops_per_token_pair=prefill)
    return chip, model, precision._replace(expert_weight_bytes=expert), efficiency, layout, work


def relative_slopes(settings: Setting, dtype: Any) -> np.ndarray:
    """[settings, outputs, leaves]: derivative of each output by the relative change of each leaf, under jit and vmap over settings."""
    size = len(jax.tree.leaves(settings))
    slopes = jax.jacfwd(lambda change, setting: every_output(setting, change, jnp))
    quick = {"xla_backend_optimization_level": 0}  # it runs once, and compiling takes all the time
    return np.asarray(jax.jit(jax.vmap(slopes, (None, 0)), compiler_options=quick)(jnp.zeros(size, dtype), settings))


def test_derivatives_of_every_function_match_finite_differences() -> None:
    settings = [numbers_only(setting) for setting in SETTINGS.values()]
    names = [name for name, function in FUNCTIONS.items() for _ in jax.tree.leaves(function(settings[0], np))]
    size = len(jax.tree.leaves(settings[0]))
    stacked = jax.tree.map(lambda *leaves: np.array(leaves), *settings)
    with jax.enable_x64(True):
        double = relative_slopes(stacked, jnp.float64)
    single = relative_slopes(jax.tree.map(np.float32, stacked), jnp.float32)
    step = 1e-4
    for at, setting in enumerate(settings):
        plain = every_output(setting, np.zeros(size), np)
        assert np.all(np.isfinite(plain))
        expected = np.empty((len(plain), size))
        for i in range(size):
            change = np.eye(size)[i] * step
            # fourth order, so that rounding and not curvature limits the comparison
            near = every_output(setting, change, np) - every_output(setting, -change, np)
            far = every_output(setting, 2 * change, np) - every_output(setting, -2 * change, np)
            expected[:, i] = (8 * near - far) / (12 * step)
        scale = np.maximum(np.abs(expected), np.where(np.abs(plain) > 0, np.abs(plain), 1.0)[:, None])
        for slopes, tolerance in ((double[at], 1e-6), (single[at], 2e-3)):
            miss = np.max(np.abs(slopes - expected) / scale, axis=1)
            assert np.all(miss < tolerance), [(names[i], miss[i]) for i in np.flatnonzero(~(miss < tolerance))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_two_array_libraries_agree(name: str) -> None:
    for setting in SETTINGS.values():
        with jax.enable_x64(True):
            ours, theirs = FUNCTIONS[name](setting, np), FUNCTIONS[name](setting, jnp)
        for one, two in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            assert np.allclose(one, two, rtol=1e-12, atol=0)


def test_the_published_sums_of_a_dense_model() -> None:
    """alpha and beta of a 70B model in FP8 on H100 at 1000 tokens in and out, worked out by hand from the same efficiencies."""
    plain = EFFICIENCY._replace(attention=0.67 * 2, decode_attention=1.0)  # attention at the FP8 peak
    two, eight = (serving.step_time(H100, LLAMA_70B, FP8, plain, Layout(n), Work(1000.0, 1000.0)) for n in (2.0, 8.0))
    assert two.alpha_s == pytest.approx(18.6e-3, rel=0.003) and two.beta_s == pytest.approx(0.185e-3, rel=0.01)
    assert eight.alpha_s == pytest.approx(10.0e-3, rel=0.003) and eight.beta_s == pytest.approx(0.087e-3, rel=0.01)


def test_a_step_is_the_sum_of_its_parts_and_prefill_is_amortised() -> None:
    """TPOT(B) is the decode step plus B prefills shared by O tokens each."""
    for setting in (SETTINGS["dense"], SETTINGS["dense, a pipeline"]):
        chip, model, _, efficiency, layout, work = setting
        step = steps(setting)
        decode = serving.decode_only(step, load_of(setting))
        prompt = work.input_tokens * (1 - work.cache_hit_ratio) * first.prefill_token_s(chip, model, efficiency, layout, work)
        for batch in (1.0, 17.0, 300.0):
            apart = serving.tpot_s(decode, batch) + batch * prompt / work.output_tokens
            assert serving.tpot_s(step, batch) == pytest.approx(apart, rel=1e-12)
            assert serving.tpot_s(step, batch) == pytest.approx(step.alpha_s + step.beta_s * batch, rel=1e-12)


def test_a_mixture_reads_more_experts_as_the_batch_grows() -> None:
    step = steps(SETTINGS["latent attention, experts apart"])
    batch = np.array([1e-9, 1.0, 8.0, 64.0, 1e5])
    seconds = serving.tpot_s(step, batch) - step.beta_s * batch
    assert np.all(np.diff(seconds) > 0)
    assert seconds[0] == pytest.approx(step.alpha_s - step.experts_s) and seconds[-1] == pytest.approx(step.alpha_s)
    tokens = 1 + load_of(SETTINGS["latent attention, experts apart"]).prefill_tokens
    share = (seconds[1] - seconds[0]) / step.experts_s
    assert share == pytest.approx(1 - (1 - 8 / 256) ** tokens, rel=1e-7)


def test_buckets_share_one_batch_harmonically() -> None:
    chip, model, precision, efficiency, layout, _ = SETTINGS["window, experts sliced"]
    shapes, share = Work(np.array([200.0, 4000.0, 900.0]), np.array([50.0, 300.0, 2000.0])), np.array([0.5, 0.3, 0.2])
    mixed = serving.mixed_load(model, shapes, share)
    of_each = [serving.step_time(chip, model, precision, efficiency, layout, Work(i, o)) for i, o in zip(shapes[0], shapes[1], strict=True)]
    weight = share * shapes.output_tokens / np.sum(share * shapes.output_tokens)
    whole = serving.step_time(chip, model, precision, efficiency, layout, mixed)
    assert whole.beta_s == pytest.approx(sum(w * one.beta_s for w, one in zip(weight, of_each, strict=True)), rel=1e-12)
    seen = shapes.input_tokens + shapes.output_tokens / 2
    assert mixed.cached_tokens == pytest.approx(np.sum(weight * seen), rel=1e-12)
    single = serving.mixed_load(model, Work(*(np.array([leaf]) for leaf in WORK)), np.array([1.0]))
    assert single == load_of(SETTINGS["window, experts sliced"])


def test_the_batch_at_a_limit_is_the_root() -> None:
    for setting in SETTINGS.values():
        step = steps(setting)
        limit = np.array([1.02, 1.3, 2.0, 20.0, 500.0]) * serving.tpot_s(step, 1.0)
        batch = batches.batch_at(step, limit)
        assert np.allclose(serving.tpot_s(step, batch), limit, rtol=1e-10) and np.all(batch > 1.0)
        assert batches.batch_at(step, np.inf) == batches.UNLIMITED_BATCH
        assert batches.batch_at(step, 0.5 * (step.alpha_s - step.experts_s)) < 0.0


def test_the_hard_answer_is_the_smaller_limit_and_the_smooth_one_is_below_it() -> None:
    for setting in SETTINGS.values():
        limits = np.geomspace(2e-3, 2.0, 40)
        hard_one, smooth_one = batches.operate(*setting, limits), batches.operate_smooth(*setting, limits)
        alone = serving.tpot_s(hard_one.step, 1.0)
        assert np.array_equal(hard_one.feasible, (alone <= limits) & (hard_one.batch_memory >= 1))
        kept = hard_one.feasible
        assert np.all(hard_one.tpot_s[kept] <= limits[kept] * (1 + 1e-9))
        assert np.all(hard_one.batch[kept] <= np.broadcast_to(hard_one.batch_memory, limits.shape)[kept] * (1 + 1e-12))
        assert np.all(hard_one.output_tokens_per_s_per_chip[~kept] == 0)
        assert np.all(np.diff(hard_one.output_tokens_per_s_per_chip) >= -1e-9)
        ratio = smooth_one.batch[kept] / hard_one.batch[kept]
        assert np.all(ratio <= 1.01) and np.all(ratio >= 2 ** (-1 / 8) - 1e-9)
        assert np.all(np.isfinite(smooth_one.output_tokens_per_s_per_chip))


def test_nothing_that_does_not_fit_is_feasible() -> None:
    done = batches.operate(H100, LLAMA_405B, FP8, EFFICIENCY, Layout(np.array([1.0, 2.0, 4.0, 5.0, 8.0])), WORK, np.inf)
    assert done.feasible.tolist() == [False, False, False, False, True]
    assert [batches.BINDING[i] for i in done.binds] == ["weights_do_not_fit"] * 4 + ["memory"]


def test_speculation_gains_alone_and_loses_in_a_crowd() -> None:
    setting = SETTINGS["dense"]
    step, load = steps(setting), load_of(setting)
    drafted = serving.speculative(step, load, 4.0, 0.7, 1e-3)
    assert serving.tpot_s(drafted, 1.0) < 0.6 * serving.tpot_s(step, 1.0)
    assert serving.tpot_s(drafted, 3000.0) > serving.tpot_s(step, 3000.0)
    same = serving.speculative(step, load, 0.0, 0.7, 1e-3)
    assert np.allclose(same, step, rtol=1e-12)
    with pytest.raises(ValueError, match="must be below 1"):
        serving.speculative(step, load, 4.0, 1.0, 1e-3)


def test_a_cached_prefix_saves_prefill_and_not_reads() -> None:
    chip, model, precision, efficiency, layout, work = SETTINGS["dense"]
    none, most = (serving.step_time(chip, model, precision, efficiency, layout, work._replace(cache_hit_ratio=h)) for h in (0.0, 0.9))
    assert most.kv_s == none.kv_s and most.attention_s == none.attention_s and most.prefill_s < 0.2 * none.prefill_s


def test_the_best_layout_is_the_best_of_all() -> None:
    for model, precision, chip in ((LLAMA_70B, FP8, H100), (DEEPSEEK_R1, FP4, B200)):
        choice = layouts.best_layout(chip, model, precision, EFFICIENCY, WORK, 0.04, [1, 2, 4, 8, 16], 8)
        rates = []
        for i in range(len(choice.layouts.chips)):
            one = batches.operate(chip, model, precision, EFFICIENCY, Layout(*(float(leaf[i]) for leaf in choice.layouts)), WORK, 0.04)
            rates.append(float(one.output_tokens_per_s_per_chip))
        assert choice.best == int(np.argmax(rates)) and choice.best_operation().output_tokens_per_s_per_chip == max(rates)
        assert choice.best_layout().chips == choice.layouts.chips[choice.best]


def test_legal_layouts_keep_inside_the_domain_and_the_heads() -> None:
    found = layouts.legal_layouts(DEEPSEEK_R1, [1, 3, 8, 16, 72], 8)
    shapes = set(zip(*(leaf.tolist() for leaf in found), strict=True))
    assert (8.0, 1.0, 0.0) in shapes and (8.0, 1.0, 1.0) in shapes and (16.0, 2.0, 1.0) in shapes
    assert (3.0, 1.0, 1.0) in shapes and (3.0, 1.0, 0.0) not in shapes  # 3 does not divide 128 heads
    assert all(128 % (n / stages) == 0 for n, stages, apart in shapes if not apart)
    assert not any(apart for _, _, apart in zip(*(leaf.tolist() for leaf in layouts.legal_layouts(LLAMA_70B, [1, 2, 8], 8)), strict=True))
    with pytest.raises(ValueError, match="at least one size"):
        layouts.legal_layouts(LLAMA_70B, [], 8)


def test_refusals_say_how_many_chips_and_how_slow() -> None:
    too_small = layouts.best_layout(H100, LLAMA_405B, FP8, EFFICIENCY, WORK, 0.05, [1, 2, 4], 8)
    assert too_small.best is None and too_small.refusal is not None and "6 such chips would hold it" in too_small.refusal
    with pytest.raises(ValueError, match="6 such chips"):
        too_small.best_layout()
    load = serving.token_load(LLAMA_405B, WORK)
    enough = layouts.least_chips(H100, LLAMA_405B, FP8, EFFICIENCY, load)
    assert enough == 6
    held = [float(batches.batch_memory(H100, LLAMA_405B, FP8, EFFICIENCY, Layout(float(n)), load)) for n in (enough - 1, enough)]
    assert held[0] < 1.0 <= held[1]
    too_fast = layouts.best_layout(H100, LLAMA_70B, FP8, EFFICIENCY, WORK, 0.004, [1, 2, 4, 8], 8)
    assert too_fast.best is None and too_fast.refusal is not None and "cannot be met" in too_fast.refusal
    assert too_fast.refusal.count("\n") == 0


def test_a_prompt_waits_for_the_iterations_that_its_tokens_need() -> None:
    chip, model, precision, efficiency, layout, work = SETTINGS["dense"]
    small, large = (first.first_token(chip, model, precision, efficiency, layout, work, 100.0, c) for c in (400.0, 8192.0))
    assert small.service_s == pytest.approx(900 / 300 * small.full_iteration_s)
    assert small.prefill_s == small.service_s  # a prompt over three iterations
    assert large.prefill_s > large.service_s  # a prompt inside one iteration still takes all of it
    assert np.isinf(first.first_token(chip, model, precision, efficiency, layout, work, 500.0, 400.0).service_s)


def test_pools_apart_use_as_many_chip_seconds_as_their_parts() -> None:
    setting = SETTINGS["dense"]
    pools = disaggregated(setting, np)
    assert pools.prefill_chips_per_decode_chip == pytest.approx(pools.prefill_chip_s / pools.decode_chip_s)
    size = LLAMA_70B.kv_elements_per_token * 1000.0
    assert pools.transfer_s == pytest.approx(size / (1.0 * 450e9 / 9))
