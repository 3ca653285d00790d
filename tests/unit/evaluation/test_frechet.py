import numpy as np
import pytest

from evaluation.frechet import Gaussian, frechet_distance, gaussian_of

RNG = np.random.default_rng(1)


def features(count, dim=12, shift=0.0):
    return (RNG.normal(size=(count, dim)) @ RNG.normal(size=(dim, dim)) + shift).astype(np.float32)


def test_gaussian_is_mean_and_covariance_in_double_precision():
    rows = features(30)
    found = gaussian_of(rows)
    np.testing.assert_allclose(found.mean_D, rows.astype(np.float64).mean(0))
    np.testing.assert_allclose(found.covariance_DD, np.cov(rows.astype(np.float64), rowvar=False))
    assert found.covariance_DD.dtype == np.float64
    assert gaussian_of(features(5, dim=1)).covariance_DD.shape == (1, 1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # clean-fid asks scipy for an argument on its way out
@pytest.mark.parametrize("count", [200, 40])
def test_distance_is_that_of_clean_fid(count):
    from cleanfid.fid import frechet_distance as reference

    one, other = gaussian_of(features(count)), gaussian_of(features(count, shift=0.5))
    expected = reference(one.mean_D, one.covariance_DD, other.mean_D, other.covariance_DD)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6)


def test_distance_is_that_of_torchmetrics():
    import torch
    from torchmetrics.image.fid import _compute_fid

    one, other = gaussian_of(features(60)), gaussian_of(features(90, shift=1))
    tensors = [torch.from_numpy(part) for part in (*one, *other)]
    expected = _compute_fid(tensors[0], tensors[1], tensors[2], tensors[3]).item()
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6)


def test_distance_in_one_dimension_is_that_of_the_formula():
    one, other = Gaussian(np.array([1.0]), np.array([[4.0]])), Gaussian(np.array([4.0]), np.array([[9.0]]))
    assert frechet_distance(one, other) == pytest.approx(3**2 + (2 - 3) ** 2)


def test_fewer_images_than_features_give_a_distance_too():
    """Covariances are singular. The features are put into six dimensions of twelve, where the distance is the same."""
    few, many = features(5, dim=6), features(40, dim=6, shift=0.3)
    basis = np.linalg.qr(RNG.normal(size=(12, 12)))[0][:6]
    expected = frechet_distance(gaussian_of(few), gaussian_of(many))
    found = frechet_distance(gaussian_of(few @ basis), gaussian_of(many @ basis))
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_set_has_no_distance_to_itself_and_the_same_one_both_ways():
    one, other = gaussian_of(features(50)), gaussian_of(features(50, shift=2))
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one))


def test_one_image_has_no_covariance():
    with pytest.raises(ValueError, match="1 images have no covariance; the Fréchet distance needs two at least"):
        gaussian_of(features(1))
