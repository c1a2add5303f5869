//! The network, as a burn module: a bag of feature rows under an ensemble of small perceptrons.
//!
//! ```text
//! features of a row (positions, weights)
//!        |  weighted sum of the table's rows ("bag")
//!        v
//! [ member 1 | member 2 | ... | linear path ]        members * hidden + labels wide
//!      |           |                 |
//!    relu        relu                |
//!      |           |                 |
//!   layers       layers              |
//!      \           /                 |
//!       mean logits  <----- plus ----+
//! ```
//!
//! Members share nothing but the linear path and are trained together, each on its own loss (as in
//! Gorishniy, Kotelnikov and Babenko 2024, "TabM", without shared weights). The linear path makes a
//! linear classifier the worst that training can do: on texts alone it is hard to beat.
//!
//! The module is the reference: training differentiates [`Head`], other devices run
//! [`BagNetwork`]. Serving on a CPU uses the crate's kernel, which computes the same function from
//! the same [`NetworkWeights`] without touching rows that a text does not name.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData, activation};

/// One layer of all members.
#[derive(Module, Debug)]
pub struct MemberLayer {
    /// `[members, inputs, outputs]`.
    weight: Param<Tensor<3>>,
    /// `[members, 1, outputs]`.
    bias: Param<Tensor<3>>,
}

/// Everything above the bag.
#[derive(Module, Debug)]
pub struct Head {
    /// Bias of the bag, `[1, members * hidden + linear path]`.
    bias: Param<Tensor<2>>,
    /// Layers of the members; the last one gives logits.
    layers: Vec<MemberLayer>,
}

/// The whole network.
#[derive(Module, Debug)]
pub struct BagNetwork {
    /// `[features, members * hidden + linear path]`.
    table: Param<Tensor<2>>,
    head: Head,
}

/// Sizes of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkShape {
    /// Rows of the table.
    pub features: usize,
    /// Independent perceptrons.
    pub members: usize,
    /// Width of a member's bag and inner layers.
    pub hidden: usize,
    /// Layers of a member above its bag, at least 1.
    pub depth: usize,
    /// Whether a linear path runs beside the members.
    pub linear: bool,
    /// Labels.
    pub labels: usize,
}

/// Weights of a network at most; 1 GiB of memory.
pub const WEIGHTS_MAX: usize = 1 << 28;

impl NetworkShape {
    /// Width of the bag.
    #[must_use]
    pub fn width(&self) -> usize {
        self.members * self.hidden + if self.linear { self.labels } else { 0 }
    }

    /// `(inputs, outputs)` of each layer.
    #[must_use]
    pub fn layers(&self) -> Vec<(usize, usize)> {
        let output = |layer| if layer + 1 == self.depth { self.labels } else { self.hidden };
        (0..self.depth).map(|layer| (self.hidden, output(layer))).collect()
    }

    /// All weights.
    #[must_use]
    pub fn weights(&self) -> usize {
        let layers: usize =
            self.layers().iter().map(|(inputs, outputs)| (inputs + 1) * outputs).sum();
        (self.features + 1) * self.width() + self.members * layers
    }

    /// Whether the sizes are ones that a network has.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let small = self.features <= 1 << 24
            && (1..=64).contains(&self.members)
            && (1..=4_096).contains(&self.hidden)
            && (1..=4).contains(&self.depth)
            && (2..=8_192).contains(&self.labels);
        small && self.weights() <= WEIGHTS_MAX
    }
}

/// The weights of one layer of all members, row-major as in [`MemberLayer`].
#[derive(Debug, Clone, PartialEq)]
pub struct LayerWeights {
    /// `members * inputs * outputs`.
    pub weight: Vec<f32>,
    /// `members * outputs`.
    pub bias: Vec<f32>,
}

/// The weights of a network in plain memory.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkWeights {
    /// The sizes.
    pub shape: NetworkShape,
    /// `features * width`, row-major.
    pub table: Vec<f32>,
    /// `width`.
    pub bias: Vec<f32>,
    /// The layers of the members.
    pub layers: Vec<LayerWeights>,
}

impl Head {
    /// The head of some weights, on a device.
    #[must_use]
    pub fn from_weights(weights: &NetworkWeights, device: &Device) -> Self {
        let shape = weights.shape;
        let bias = TensorData::new(weights.bias.clone(), [1, shape.width()]);
        let layers = weights.layers.iter().zip(shape.layers()).map(|(layer, (inputs, outputs))| {
            let weight = TensorData::new(layer.weight.clone(), [shape.members, inputs, outputs]);
            let bias = TensorData::new(layer.bias.clone(), [shape.members, 1, outputs]);
            MemberLayer {
                weight: Param::from_data(weight, device),
                bias: Param::from_data(bias, device),
            }
        });
        Self { bias: Param::from_data(bias, device), layers: layers.collect() }
    }

    /// Writes the head's weights back into plain memory.
    pub fn store(&self, weights: &mut NetworkWeights) {
        weights.bias = plain(self.bias.val());
        for (layer, stored) in self.layers.iter().zip(&mut weights.layers) {
            stored.weight = plain(layer.weight.val());
            stored.bias = plain(layer.bias.val());
        }
    }

    /// Member logits `[members, batch, labels]` of bags `[batch, width]`. `masks` scales the bag
    /// and the inputs of every layer but the first (dropout, `[1 or members, batch, hidden]`).
    #[must_use]
    pub fn forward(&self, bag: Tensor<2>, masks: &[Tensor<3>]) -> Tensor<3> {
        let [batch, width] = bag.dims();
        let [members, hidden, _] = self.layers[0].weight.dims();
        let bag = bag + self.bias.val();
        let own = bag.clone().slice([0..batch, 0..members * hidden]);
        let mut state = own.reshape([batch, members, hidden]).swap_dims(0, 1);
        for (index, layer) in self.layers.iter().enumerate() {
            state = activation::relu(state);
            if let Some(mask) = masks.get(index) {
                state = state * mask.clone();
            }
            state = state.matmul(layer.weight.val()) + layer.bias.val();
        }
        if width > members * hidden {
            let linear = bag.slice([0..batch, members * hidden..width]);
            state = state + linear.unsqueeze_dim(0);
        }
        state
    }
}

impl BagNetwork {
    /// The network of some weights, on a device.
    #[must_use]
    pub fn from_weights(weights: &NetworkWeights, device: &Device) -> Self {
        let sizes = [weights.shape.features, weights.shape.width()];
        let table = TensorData::new(weights.table.clone(), sizes);
        Self { table: Param::from_data(table, device), head: Head::from_weights(weights, device) }
    }

    /// Logits `[batch, labels]` of dense feature rows `[batch, features]`.
    #[must_use]
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        let bag = features.matmul(self.table.val());
        self.head.forward(bag, &[]).mean_dim(0).squeeze_dim(0)
    }
}

/// The values of a tensor. An error of the device leaves none, which the callers' length checks
/// and the training loop's loss check turn into a coded error.
pub fn plain<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap_or_default()
}
