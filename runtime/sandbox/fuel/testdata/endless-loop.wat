(module (func (export "attack") (loop $l (br $l))))
