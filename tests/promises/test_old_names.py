"""Pickles that were written before there were rooms, and what stands in those."""

import base64
import importlib
import pickle
import zlib

import numpy as np
import pytest

import fastnp as nn

# Model, optimizer, loss, loader and history of a short training.
OLD = (
    "c-n<k&1(}u6yJQOX<AdkQc$E9Aw8IbRPbP%YAcZ@=Fn8A2U#ZBNoH}soY`%OP^gD$19K2Mf=B-YJ&QvA1pfrjp86l?oBhb9HHix^"
    "vzd7xzxU?%-kzjC?&cK#Df6W+Vy@*>7=G<x%hiz~c%c>lITveh#jz;!w1rFzXXA?59z_mef|o)s_93QJ*D!3&?^D!yg|&vx+`vnj"
    "FNA6a>SGEz*@kXmL`OkLhG&gni|5rNtoMiuYLS_XEoQ?}c0YKDv1!Off-hU1>GUgV$ELVqdIo@`6!ir!suXu@i@DV6NH9F(YYLvT"
    "v_R!t)Rj}QooI{qVo#LoiF&f0dMC&&p3&UCgQZcjyDkQ2!Fh@&9*SnOx%&qm|EI3FqCMDNQIw0#SbmR0z%frl!8Ac`lG`#IS-l*r"
    "?3+)1q`BAT8MUn=CdiGjU@QOnN<_Yjin8@R5@}EF&epyf&1;h)Pw(Nz^QhEtL1~H&Pp~#wjP8sqk?XSnrRs@Mh@TsgOanBoeH9Q{"
    "pPhJUnTCXaOiwu0iW9}hz__k$81@m?#2J&dj#|TZT;0^)_>4`pYCAFS@}_M<FL<V?ReuFQdBH&xI>nXhq#$WemdSmxOAa6g>49s$"
    "U;x7{-Rh|nxfpDRp=~jsysF_2aIzL9&kO#B>JyPCjeCIg5F2(!cl+Wc1enRElg(JZj>Ip|Og0QRBAKi^eo>#QkxcU&7k%i*#!%qV"
    "IItO$BO~>!^<;b&q)Z0+&QYvE+v>I@c-q7WmW*nE<+RkpP<ci90FcUClOc`koq(P)Q}52@?k8)LdS7~if_)w(I3Fe$jHkj5EDalJ"
    "cx-g#<Qc=RAYXX#k(@<4;l@ZMaWHXWBtuva{s(I{V9`Z2q|;Wg<ioY(C(aWu#I)pxgYD8)AK^U8F=RRhBqZTKMsA0+!i^F9LR)UD"
    "3_3{ElYCC2wiDdnK;A7QUbkyt_>-bmPc(T>w=}&2e3$^|)K6LeZ_1^pbrNIq1876-BL*O3$MePTatM5&Y$`tnPs6wPyCRthG^<s="
    "1#S?(c8Cle?hNRthNoWJ6_vktUWr)"
)


def test_a_pickle_from_before_the_rooms():
    model, optimizer, loss_fn, loader, history = pickle.loads(zlib.decompress(base64.b85decode(OLD)))
    assert [type(part) for part in (model, optimizer, history)] == [nn.Sequential, nn.SGD, nn.History]
    assert history.loss == [0.1015625] and history.learning_rate == [] and history.best_epoch is None
    assert optimizer.velocity[1].tolist() == [[0.09375] * 3]
    np.testing.assert_array_equal(model.predict(np.ones((1, 2))), [[0.23162841796875]])
    assert len(nn.fit(model, loss_fn, optimizer, loader, 2, progress=False, history=history).loss) == 3
    again = pickle.loads(pickle.dumps(model))
    assert b"fastnp.layers" not in pickle.dumps(model)
    assert np.array_equal(again.predict(np.ones((1, 2))), model.predict(np.ones((1, 2))))


ROOMS = {
    "layers": [
        "Dropout", "ELU", "GELU", "Layer", "LayerNorm", "LeakyReLU", "Linear", "ReLU", "Sequential", "SiLU", "Sigmoid",
        "Softmax", "Softplus", "Tanh",
    ],
    "optimizers": ["Optimizer", "SGD"],
    "data": ["ArrayDataset", "BatchSampler", "DataLoader", "Dataset"],
    "training": ["EarlyStopping", "History", "fit"],
    "losses": ["BCEWithLogits", "CrossEntropy", "Huber", "Loss", "MAE", "MSE", "PoissonNLL", "Quantile"],
    "initializers": [
        "Constant", "HeNormal", "HeUniform", "Initializer", "Normal", "Uniform", "XavierNormal", "XavierUniform",
    ],
    "tensor": ["Tensor"],
}  # fmt: skip


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_can_be_had_from_their_rooms(room):
    module = importlib.import_module(f"fastnp.{room}")
    for name in ROOMS[room]:
        assert getattr(module, name) is getattr(nn, name)
