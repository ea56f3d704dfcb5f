import pytest
import torch

from fre_lightning.backbones.dft import ModulusOfInverseDFT, PlaneDFT


@pytest.mark.parametrize(("height", "width"), [(36, 48), (7, 30), (1, 2)])
def test_spectra_are_those_of_the_fast_transform(height, width):
    planes = torch.randn(3, height, width, generator=torch.Generator().manual_seed(0))
    real, imaginary = PlaneDFT(height, width)(planes).unbind(dim=1)
    expected = torch.fft.fft2(planes.double()).mT
    torch.testing.assert_close(
        torch.complex(real, imaginary).to(expected), expected, rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("step", [1, 2, 4])
def test_inverse_is_sampled_where_asked(step):
    generator = torch.Generator().manual_seed(0)
    spectra = torch.randn(2, 2, 48, 24, generator=generator)
    modulus = ModulusOfInverseDFT(24, 48, 24 // step, 48 // step)(spectra)
    signals = torch.fft.ifft2(torch.complex(*spectra.double().unbind(dim=1)).mT, norm="forward")
    expected = signals.abs()[:, ::step, ::step]
    torch.testing.assert_close(modulus.to(expected), expected, rtol=0, atol=1e-4)
