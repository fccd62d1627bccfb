from networks import fresh, net, rng, variables, vgg16_net, vgg16_variables  # noqa: F401
