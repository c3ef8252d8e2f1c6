"""The photo forward model: the camera's physics and the print."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_dcr.image.tone import srgb_to_linear
from napari_dcr.training.evaluation import metrics
from napari_dcr.training.forward.camera import Scene, contrast, undo_contrast
from napari_dcr.training.forward.shot import LUMA, LightField, Noise, Shot


def picture() -> np.ndarray:
    y, x = np.mgrid[:90, :120].astype(np.float32) / 120
    return np.stack([x, y, 1 - x], -1).clip(0, 1)


EVEN = LightField("even", 0.0, (0.5, 0.5), 0.3, 0.0)


def shot(**changes: object) -> Shot:
    silent = Shot(
        4.0, EVEN, Noise(0.0, 0.0), 0.3, 0.3, 1.0, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), 16, 0,
        key=0.44, follow=0.0,
    )  # fmt: skip
    return dataclasses.replace(silent, **changes)  # type: ignore[arg-type]


Y = ((np.arange(90, dtype=np.float32) + 0.5) / 90)[:, None]


X = ((np.arange(120, dtype=np.float32) + 0.5) / 120)[None]


@given(st.floats(0, 0.6))
def test_contrast_is_undone(amount: float) -> None:
    v = np.linspace(0, 1, 300, dtype=np.float32)
    assert np.abs(contrast(undo_contrast(v, amount), amount) - v).max() < 2e-3


def test_saturation_of_the_camera_keeps_greys() -> None:
    grey = np.full((90, 120, 3), 0.4, np.float32)
    colours = picture()
    spans = []
    for saturation in (0.5, 1.0, 1.5):
        some = shot(saturation=saturation, ev=2.0)
        flat = Scene(grey, some).expose(grey, Y, X, np.random.default_rng(0))
        assert np.ptp(flat) < 1e-3
        dim = Scene(colours, some).expose(colours, Y, X, np.random.default_rng(0))
        spans.append(float((dim.max(-1) - dim.min(-1)).mean()))
    assert spans[0] < spans[1] < spans[2]


def test_lit_parts_are_not_overexposed_to_bring_up_the_rest() -> None:
    p = picture()
    lamp = LightField("lamp", 5.0, (0.3, 0.3), 0.2, 0.0)
    assert Scene(p, shot(light=lamp, ev=0.0))._gain <= Scene.MOST_GAIN


def test_hardly_dim_pictures_keep_their_exposure() -> None:
    low_key = picture() * 0.5
    lifts = []
    for ev in (0.0, 1.0, 4.0):
        lifts.append(float(Scene(low_key, shot(ev=ev)).print(low_key, Y, X).mean()))
    assert lifts[0] == pytest.approx(low_key.mean(), abs=0.02)
    assert lifts[0] < lifts[1] < lifts[2]


def test_input_is_darker_by_its_stops_and_the_target_is_not() -> None:
    p = picture()
    means = []
    for ev in (1.0, 3.0, 5.0):
        scene = Scene(p, shot(ev=ev))
        means.append(float(scene.expose(p, Y, X, np.random.default_rng(0)).mean()))
        assert scene.print(p, Y, X).mean() == pytest.approx(0.45, abs=0.08)
    assert means[0] > means[1] > means[2] > 0


def test_identity_pairs_are_identical() -> None:
    p = picture()
    for white in (1.0, 0.9):
        scene = Scene(p, shot(identity=0.0, white=white))
        assert scene.identity
        assert scene.print(p, Y, X) == pytest.approx(p * white)
        again = scene.expose(p, Y, X, np.random.default_rng(0))
        assert np.abs(again - p * white).max() < 1e-4


def test_low_key_pictures_are_their_own_target_more_often_and_dim_pictures_never() -> None:
    draw = (Scene.CHANCE + Scene.LOW_KEY_CHANCE) / 2
    p = picture()
    assert not Scene(p, shot(identity=draw)).identity
    assert Scene(p**2, shot(identity=draw)).identity
    assert not Scene(p * 0.2, shot(identity=0.0)).identity


def test_targets_never_clip_and_keep_gradation_in_highlights() -> None:
    p = picture()
    lamp = LightField("lamp", 4.0, (0.3, 0.3), 0.3, 0.0)
    scene = Scene(p, shot(light=lamp, glare=20.0, ev=1.0))
    target = scene.print(p, Y, X)
    assert metrics.blown_share(np.round(target * 255).astype(np.uint8)) == 0
    brightest_tenth = p.max(-1) > np.quantile(p.max(-1), 0.9)
    assert target.max(-1)[brightest_tenth].std() > 0.01


def test_prints_of_uneven_light_have_the_colour_of_the_scene_a_black_and_a_white() -> None:
    p = 0.3 * picture() + 0.6 * X[..., None]
    faint = LightField("horizon", 0.01, (0.5, 0.5), 0.5, 0.0)
    for ev in (0.0, 3.0, 6.0):
        scene = Scene(p, shot(ev=ev, contrast=0.0, light=faint))
        printed = scene.print(p, Y, X)
        a, b = (np.ptp(v, -1)[20:70, 20:100] for v in (printed, p))
        assert a.mean() > 0.99 * b.mean()
        # In the dark, the deepest shadow cannot be determined.
        assert np.quantile(printed @ LUMA, 0.01) < {0.0: 1, 3.0: 0.04, 6.0: 0.065}[ev]
    assert np.quantile(printed.max(-1), 0.995) > 0.93


def test_the_natural_print_is_the_photograph_in_the_colour_of_its_light() -> None:
    p = picture()
    for ev in (1.0, 3.0):
        assert np.abs(Scene(p, shot(ev=ev, follow=0.45)).natural(p) - p).max() < 2e-3
    warm = Scene(p, shot(ambient=(1.2, 1.0, 0.8))).natural(p).mean((0, 1)) - p.mean((0, 1))
    assert warm[0] > 0.01
    assert warm[2] < -0.01
    lamp = LightField("lamp", 3.0, (0.5, 0.5), 0.4, 0.0)
    with pytest.raises(ValueError, match="light: got 'lamp'; .* 'even' or 'gentle'"):
        Scene(p, shot(light=lamp)).natural(p)


def test_prints_of_even_light_are_natural_prints() -> None:
    p = picture()
    for ev in (1.0, 4.0, 6.0):
        scene = Scene(p, shot(ev=ev, contrast=0.4, ambient=(1.2, 1.0, 0.8), follow=0.45))
        printed = scene.print(p, Y, X, sharpened=False)
        assert np.abs(printed - scene.natural(p)).max() < 1e-2
    gentle = LightField("gentle", 1.0, (0.5, 0.5), 0.3, 1.57)
    scene = Scene(p, shot(ev=3.0, light=gentle))
    printed = scene.print(p, Y, X, sharpened=False) - scene.natural(p)
    assert printed[60:].mean() > 0.02
    assert printed[:30].mean() < -0.02


def test_the_natural_print_of_the_night_is_dark() -> None:
    p = picture()
    means = [Scene(p, shot(ev=ev, follow=0.45)).natural(p).mean() for ev in (4.0, 6.0, 7.5)]
    assert means[0] > 1.05 * means[1] > 1.05**2 * means[2]
    bright = [Scene(p, shot(ev=ev, follow=0.0)).natural(p).mean() for ev in (4.0, 7.5)]
    assert bright[0] == bright[1]


def test_lamps_keep_their_gradation_in_the_natural_print() -> None:
    lamp = np.full((90, 120, 3), 0.2, np.float32)
    lamp[30:60, 40:80] = np.linspace(2, 10, 40, dtype=np.float32)[:, None]
    printed = Scene(lamp, shot(ev=3.0), "radiance").natural(lamp)[45, 40:80, 0]
    assert (np.diff(printed) > 0).all()
    assert printed[-1] <= 1


def test_night_stays_night() -> None:
    p = picture()
    stops = (0.0, 2.0, 4.0, 5.5, 6.5, 7.5)
    follows, ignores = (
        [float(Scene(p, shot(ev=ev, follow=f)).print(p, Y, X).mean()) for ev in stops]
        for f in (0.8, 0.0)
    )
    assert follows[0] == ignores[0]
    assert follows[1] == ignores[1]
    assert (np.diff(follows[3:]) < 0).all()
    assert follows[-1] < 0.6 * follows[3]
    assert follows[-1] < 0.7 * ignores[-1]


def test_shadows_below_the_noise_fade_to_black_and_others_stay() -> None:
    ramp = np.broadcast_to(X[..., None] ** 2, (90, 120, 3)).astype(np.float32)
    printed = {
        read: Scene(ramp, shot(ev=4.0, noise=Noise(0.0, read))).print(ramp, Y, X)[45, :, 0]
        for read in (0.0, 1e-8, 2.5e-3)
    }
    assert printed[1e-8][40:] == pytest.approx(printed[0.0][40:], abs=0.02)
    assert printed[0.0][40] > 0.1
    assert printed[2.5e-3][40] < 0.02
    for values in printed.values():
        assert (np.diff(values[2:-2]) >= -1e-3).all()


def test_prints_keep_part_of_the_colour_of_the_light() -> None:
    grey = np.repeat(picture().mean(-1, keepdims=True), 3, -1)
    warm = (1.2, 1.0, 0.7)
    scene = Scene(grey, shot(ambient=warm, contrast=0.0))
    dim = srgb_to_linear(scene.expose(grey, Y, X, np.random.default_rng(0)))
    printed = scene._printed(grey, Y, X)
    middle = np.s_[30:60, 40:80]
    ratios = [np.log((a[middle][..., 0] / a[middle][..., 2]).mean()) for a in (dim, printed)]
    assert ratios[0] == pytest.approx(np.log(1.2 / 0.7), rel=0.05)
    assert ratios[1] == pytest.approx(Scene.AMBIENT * ratios[0], rel=0.05)


def test_radiance_is_exposed_without_undoing_a_tone_curve() -> None:
    lamp = np.full((90, 120, 3), 0.2, np.float32)
    lamp[40:50, 50:60] = 30.0
    scene = Scene(lamp, shot(ev=3.0), "radiance")
    assert not scene.identity
    dim = srgb_to_linear(scene.expose(lamp, Y, X, np.random.default_rng(0)))
    assert undo_contrast(dim[0, 0], 0.0) == pytest.approx(0.2 / 8, rel=0.4)
    assert dim[45, 55].min() > 0.99
    printed = scene.print(lamp, Y, X)
    assert printed.max() <= 1
    assert printed[45, 55, 0] > printed[0, 0, 0] > dim[0, 0, 0]


def test_grey_cameras_have_one_noise() -> None:
    p = np.repeat(picture().mean(-1, keepdims=True), 3, -1)
    grey = shot(grey=True, noise=Noise(1e-3, 1e-5), electrons=300.0)
    dim = Scene(p, grey).expose(p, Y, X, np.random.default_rng(0))
    assert np.ptp(dim, -1).max() == 0


def test_stored_values_can_have_shot_noise() -> None:
    flat = np.full((200, 200, 3), 0.5, np.float32)
    y, x = np.linspace(0, 1, 200, dtype=np.float32)[:, None], np.linspace(0, 1, 200)[None]
    exposed = Scene(flat, shot(electrons=255.0, ev=3.0)).expose(
        flat, y, x.astype(np.float32), np.random.default_rng(0)
    )
    assert exposed.std() == pytest.approx(np.sqrt(exposed.mean() / 255), rel=0.05)


def test_lamp_light_is_compressed_and_gentle_light_is_kept() -> None:
    grey = np.full((90, 120, 3), 0.4, np.float32)
    for light, low, high in (
        (LightField("gentle", 0.8, (0.5, 0.5), 0.3, 0.7), 0.95, 1.05),
        (LightField("lamp", 4.0, (0.3, 0.3), 0.3, 0.0), 0.45, 0.6),
    ):
        scene = Scene(grey, shot(light=light))
        printed = np.log2(scene._printed(grey, Y, X))
        ratio = np.ptp(printed) / np.ptp(light(Y, X, grey[..., 0]))
        assert low < ratio < high


def test_rough_conditions_change_the_input_and_not_the_print() -> None:
    p = picture()
    for changes in (
        {"black": (-0.02,) * 3},
        {"balance": (1.3, 1.0, 0.8)},
        {"camera_contrast": 0.7},
    ):
        plain, rough = Scene(p, shot()), Scene(p, shot(**changes))
        assert (plain.print(p, Y, X) == rough.print(p, Y, X)).all()
        a, b = (s.expose(p, Y, X, np.random.default_rng(0)) for s in (plain, rough))
        assert np.abs(a - b).max() > 0.01


def test_targets_are_sharpened_only_with_detail() -> None:
    rng = np.random.default_rng(0)
    photograph = (0.5 + 0.1 * rng.standard_normal((90, 120, 3))).clip(0, 1).astype(np.float32)
    y, x = (np.arange(n, dtype=np.float32)[:, None] / n for n in (90, 120))
    scene = Scene(photograph, shot())
    assert not scene.identity
    sharp = scene.print(photograph, y, x.T)
    soft = scene.print(photograph, y, x.T, sharpened=False)
    assert 1.1 < sharp.std() / soft.std() < 1.3
    np.testing.assert_allclose(sharp.mean(), soft.mean(), atol=2e-3)
    same = Scene(photograph, shot(identity=0.0))
    assert same.identity
    prints = (same.print(photograph, y, x.T, sharpened=on) for on in (True, False))
    assert np.array_equal(*prints)
