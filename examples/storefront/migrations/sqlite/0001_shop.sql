CREATE TABLE categories (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL
);

CREATE TABLE products (
    id INTEGER PRIMARY KEY,
    category_id BIGINT NOT NULL REFERENCES categories (id),
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    version BIGINT NOT NULL DEFAULT 1
);

CREATE INDEX products_of_a_category ON products (category_id, name);

CREATE TABLE prices (
    product_id BIGINT PRIMARY KEY REFERENCES products (id),
    cents BIGINT NOT NULL,
    version BIGINT NOT NULL DEFAULT 1
);

CREATE TABLE stock (
    product_id BIGINT PRIMARY KEY REFERENCES products (id),
    quantity BIGINT NOT NULL CHECK (quantity >= 0)
);

CREATE TABLE customers (
    id BIGINT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    version BIGINT NOT NULL DEFAULT 1,
    -- That of the last checkout: see `shop/checkout.rs`.
    fence BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id BIGINT NOT NULL REFERENCES customers (id),
    -- One order for each, however often it is sent.
    basket TEXT NOT NULL UNIQUE,
    cents BIGINT NOT NULL
);

CREATE INDEX orders_of_a_customer ON orders (customer_id, id);

CREATE TABLE order_lines (
    order_id BIGINT NOT NULL REFERENCES orders (id),
    product_id BIGINT NOT NULL REFERENCES products (id),
    quantity BIGINT NOT NULL,
    cents BIGINT NOT NULL,
    PRIMARY KEY (order_id, product_id)
);

CREATE INDEX order_lines_of_a_product ON order_lines (product_id);
