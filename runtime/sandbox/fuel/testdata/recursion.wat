(module (func $f (export "attack") (call $f)))
