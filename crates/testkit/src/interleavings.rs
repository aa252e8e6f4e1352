//! All orders in which several actors can take their steps.

/// All orders in which actors can take so many steps each: every order names the actor of each step.
/// The number of orders grows quickly: two actors with five steps have 252, three with four 34,650.
pub fn interleavings(steps: &[usize]) -> Vec<Vec<usize>> {
    let mut left = steps.to_vec();
    let mut orders = Vec::new();
    extend(&mut Vec::new(), &mut left, &mut orders);
    orders
}

fn extend(order: &mut Vec<usize>, left: &mut [usize], orders: &mut Vec<Vec<usize>>) {
    if left.iter().all(|steps| *steps == 0) {
        orders.push(order.clone());
    }
    for actor in 0..left.len() {
        if left[actor] == 0 {
            continue;
        }
        left[actor] -= 1;
        order.push(actor);
        extend(order, left, orders);
        order.pop();
        left[actor] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_comes_once() {
        assert_eq!(interleavings(&[1, 2]), [vec![0, 1, 1], vec![1, 0, 1], vec![1, 1, 0]]);
        let mut orders = interleavings(&[5, 5]);
        orders.sort_unstable();
        orders.dedup();
        assert_eq!(orders.len(), 252);
    }
}
